"""Writes SessionBundles, the exports from before SavedModel, with the calls of the exporter of that time.

    import slipway_exporter as exporter

    model_exporter = exporter.Exporter(tf.compat.v1.train.Saver(sharded=True))
    signature = exporter.classification_signature(input_tensor=x, scores_tensor=y)
    model_exporter.init(session.graph.as_graph_def(), default_graph_signature=signature)
    model_exporter.export("/models/mnist", tf.constant(1), session)

It needs nothing but TensorFlow: copy this file to where your training is. For a new model use SavedModel.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.protobuf import meta_graph_pb2

__all__ = ["Exporter", "classification_signature", "generic_signature", "regression_signature"]


class Named(Protocol):
    """A tensor; its name in the graph is all that a signature needs."""

    @property
    def name(self) -> str:
        """For example `x:0`."""


def _messages() -> dict[str, type]:
    """Return the messages of a bundle's manifest: TensorFlow Serving's `session_bundle/manifest.proto`.

    They are declared in a pool of their own, so that this module can be imported beside any other declaration of them.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="session_bundle_manifest.proto", package="tensorflow.serving", syntax="proto3"
    )

    def declare(name: str, *fields: tuple[str, str]) -> descriptor_pb2.DescriptorProto:
        message = file.message_type.add(name=name)
        for number, (label, kind) in enumerate(fields, start=1):
            added = message.field.add(name=label, number=number, label=field.LABEL_OPTIONAL)
            if kind.startswith("map of "):
                entry = message.nested_type.add(name=f"{label.title().replace('_', '')}Entry")
                entry.options.map_entry = True
                for place, part, of in ((1, "key", "string"), (2, "value", kind[7:])):
                    _type(entry.field.add(name=part, number=place, label=field.LABEL_OPTIONAL), of)
                added.label = field.LABEL_REPEATED
                _type(added, f"{name}.{entry.name}")
            else:
                _type(added, kind)
        return message

    def _type(of: Any, kind: str) -> None:
        of.type = field.TYPE_STRING if kind == "string" else field.TYPE_MESSAGE
        if kind != "string":
            of.type_name = f".tensorflow.serving.{kind}"

    binding = "TensorBinding"
    declare("TensorBinding", ("tensor_name", "string"))
    declare("RegressionSignature", ("input", binding), ("output", binding))
    declare(
        "ClassificationSignature", ("input", binding), ("classes", binding), ("scores", binding)
    )
    declare("GenericSignature", ("map", f"map of {binding}"))
    signature = declare(
        "Signature",
        ("regression_signature", "RegressionSignature"),
        ("classification_signature", "ClassificationSignature"),
        ("generic_signature", "GenericSignature"),
    )
    signature.oneof_decl.add(name="type")
    for one in signature.field:
        one.oneof_index = 0
    declare(
        "Signatures",
        ("default_signature", "Signature"),
        ("named_signatures", "map of Signature"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"tensorflow.serving.{message.name}")
        )
        for message in file.message_type
    }


_MESSAGES = _messages()


def classification_signature(
    input_tensor: Named, classes_tensor: Named | None = None, scores_tensor: Named | None = None
) -> Any:
    """Return the signature of a model that answers Classify.

    Args:
        input_tensor: serialized tf.Examples, or whatever the model is fed.
        classes_tensor: names of classes [n, k], where they are not simply the positions of the scores.
        scores_tensor: scores [n, k].
    """
    signature = _MESSAGES["Signature"]()
    bound = signature.classification_signature
    bound.input.tensor_name = input_tensor.name
    if classes_tensor is not None:
        bound.classes.tensor_name = classes_tensor.name
    if scores_tensor is not None:
        bound.scores.tensor_name = scores_tensor.name
    return signature


def regression_signature(input_tensor: Named, output_tensor: Named) -> Any:
    """Return the signature of a model that answers Regress: one value for each row."""
    signature = _MESSAGES["Signature"]()
    signature.regression_signature.input.tensor_name = input_tensor.name
    signature.regression_signature.output.tensor_name = output_tensor.name
    return signature


def generic_signature(name_tensor_map: Mapping[str, Named]) -> Any:
    """Return a signature that gives tensors the names by which clients know them.

    The pair of named signatures `inputs` and `outputs` is what Predict uses.
    """
    signature = _MESSAGES["Signature"]()
    for name, tensor in name_tensor_map.items():
        signature.generic_signature.map[name].tensor_name = tensor.name
    return signature


class Exporter:
    """Writes version directories below one folder.

    Args:
        saver: writes the variables; it must be sharded, as the names of the files say so.
    """

    def __init__(self, saver: tf.compat.v1.train.Saver) -> None:
        self._saver = saver
        self._meta_graph: meta_graph_pb2.MetaGraphDef | None = None

    def init(
        self,
        graph_def: Any = None,
        init_op: Any = None,
        clear_devices: bool = False,  # noqa: FBT001, FBT002 - the call that people's code has
        default_graph_signature: Any = None,
        named_graph_signatures: Mapping[str, Any] | None = None,
    ) -> None:
        """Say what is exported; once for an Exporter.

        Args:
            graph_def: the graph, by default the current one.
            init_op: runs after the variables are restored, for example to fill tables.
            clear_devices: whether operations may run on other devices than those they were trained on.
            default_graph_signature: what answers a request that names no signature.
            named_graph_signatures: by the names that requests give.
        """
        if self._meta_graph is not None:
            raise ValueError("Exporter.init was called before: make an Exporter for each export")
        meta_graph = meta_graph_pb2.MetaGraphDef()
        meta_graph.graph_def.CopyFrom(
            graph_def or tf.compat.v1.get_default_graph().as_graph_def(add_shapes=True)
        )
        if clear_devices:
            for node in meta_graph.graph_def.node:
                node.device = ""
        meta_graph.saver_def.CopyFrom(self._saver.as_saver_def())
        if init_op is not None:
            meta_graph.collection_def["serving_init_op"].node_list.value.append(init_op.name)
        manifest = _MESSAGES["Signatures"]()
        if default_graph_signature is not None:
            manifest.default_signature.CopyFrom(default_graph_signature)
        for name, signature in (named_graph_signatures or {}).items():
            manifest.named_signatures[name].CopyFrom(signature)
        packed = any_pb2.Any()
        packed.Pack(manifest)
        meta_graph.collection_def["serving_signatures"].any_list.value.append(packed)
        self._meta_graph = meta_graph

    def export(
        self,
        export_dir_base: str,
        global_step_tensor: tf.Tensor,
        sess: tf.compat.v1.Session | None = None,
    ) -> str:
        """Write a version and return its directory, which is named like the version: `00000001`.

        It is written beside its place and then renamed, so that a server sees all of it or nothing.

        Args:
            export_dir_base: made if it is not there.
            global_step_tensor: the version.
            sess: holds the variables; by default the current session.
        """
        if self._meta_graph is None:
            raise ValueError("call Exporter.init before Exporter.export")
        session = sess or tf.compat.v1.get_default_session()
        version = int(session.run(global_step_tensor))
        target = Path(export_dir_base) / f"{version:08d}"
        if target.exists():
            raise FileExistsError(f"{target} is there already: export a higher version")
        draft = target.with_name(f"{target.name}-tmp")
        draft.mkdir(parents=True)
        self._saver.save(session, str(draft / "export"), write_meta_graph=False)
        (draft / "export.meta").write_bytes(self._meta_graph.SerializeToString())
        draft.rename(target)
        return str(target)
