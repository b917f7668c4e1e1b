"""Reads a legacy SessionBundle, the export of TensorFlow before SavedModel, as if it were one.

    NNNNNNNN/export.meta                   MetaGraphDef; what the bundle says about itself is in its collections
             export                        variables, format V1 in one file, or
             export-?????-of-?????         V1 in shards, or
             export.index, export.data-…   V2
             assets/

Its signatures have no types and are keyed by what they are for, not by name. `serving_default` of such a bundle means
different things to different methods: Predict uses the generic signatures `inputs` and `outputs`, Classify and Regress
use the default signature.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from slipway_server.errors import Code, ServingError, not_found
from slipway_server.servables.tensorflow.exports.export import (
    ASSETS_DIRECTORY,
    Export,
    Restore,
    tensor_name,
)
from slipway_server.wire import session_bundle_pb2

M = TypeVar("M", bound=Message)

DEFAULT_KEY: Final = "serving_default"
# The key under which TensorFlow Serving 1.x offers the generic signatures when there is a default signature as well.
FROM_NAMED_KEY: Final = "serving_default_from_named"
_PREDICT, _CLASSIFY, _REGRESS = (
    f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress")
)
_META_GRAPH: Final = "export.meta"
_GRAPH, _ASSETS, _INIT_OP, _SIGNATURES = (
    f"serving_{what}" for what in ("graph", "assets", "init_op", "signatures")
)
_SHARD: Final = re.compile(r"export-(\d{5})-of-(\d{5})")
_SHARDS: Final = "export-?????-of-?????"

_log = structlog.get_logger("slipway_server.loader")


def is_session_bundle(directory: Path) -> bool:
    """Whether a directory holds a SessionBundle."""
    return (directory / _META_GRAPH).exists()


def read_session_bundle(directory: Path) -> Export:
    """Read what a SessionBundle says.

    Raises:
        ServingError: DATA_LOSS when a part cannot be parsed, FAILED_PRECONDITION when there are too many of one kind.
    """
    meta_graph = _meta_graph(directory / _META_GRAPH)
    signatures, example_signatures = signature_defs(_signatures(meta_graph))
    saver = meta_graph.saver_def
    restore = None
    if saver.restore_op_name:
        files, expected = _checkpoint(directory)
        restore = Restore(
            saver.restore_op_name, tensor_name(saver.filename_tensor_name), files, expected
        )
    return Export(
        graph=_graph(meta_graph),
        signatures=signatures,
        example_signatures=example_signatures,
        assets={
            tensor_name(asset.tensor_binding.tensor_name): os.fspath(
                directory / ASSETS_DIRECTORY / asset.filename
            )
            for asset in (
                _unpacked(value, session_bundle_pb2.AssetFile, _ASSETS)
                for value in _values(meta_graph, _ASSETS)
            )
        },
        restore=restore,
        init_operation=_init_operation(meta_graph),
    )


def signature_defs(
    signatures: session_bundle_pb2.Signatures,
) -> tuple[dict[str, meta_graph_pb2.SignatureDef], dict[str, meta_graph_pb2.SignatureDef]]:
    """Return a bundle's signatures in the newer form: those of Predict and metadata, those of Classify and Regress.

    Both have names of tensors only. The second holds what differs from the first under the same key.
    """
    defined: dict[str, meta_graph_pb2.SignatureDef] = {}
    for_examples: dict[str, meta_graph_pb2.SignatureDef] = {}
    named = dict(signatures.named_signatures)
    predict = _predict(named)
    if predict is not None:
        del named["inputs"], named["outputs"]
    if signatures.HasField("default_signature"):
        named[DEFAULT_KEY] = signatures.default_signature
    for key, signature in named.items():
        if (definition := _example_signature(signature)) is not None:
            defined[key] = definition
        elif signature.WhichOneof("type"):
            # Without its counterpart nothing tells whether a generic signature's tensors are inputs or outputs.
            _log.warning("signature of a SessionBundle cannot be used", signature=key)
    if predict is not None:
        if DEFAULT_KEY in defined:
            for_examples[DEFAULT_KEY] = defined[DEFAULT_KEY]
            defined[FROM_NAMED_KEY] = predict
        defined[DEFAULT_KEY] = predict
    return defined, for_examples


def _predict(
    named: Mapping[str, session_bundle_pb2.Signature],
) -> meta_graph_pb2.SignatureDef | None:
    inputs, outputs = named.get("inputs"), named.get("outputs")
    if inputs is None or outputs is None:
        return None
    if {inputs.WhichOneof("type"), outputs.WhichOneof("type")} != {"generic_signature"}:
        return None
    return _definition(_PREDICT, inputs.generic_signature.map, outputs.generic_signature.map)


def _example_signature(
    signature: session_bundle_pb2.Signature,
) -> meta_graph_pb2.SignatureDef | None:
    match signature.WhichOneof("type"):
        case "regression_signature":
            regression = signature.regression_signature
            return _definition(
                _REGRESS, {"inputs": regression.input}, {"outputs": regression.output}
            )
        case "classification_signature":
            classification = signature.classification_signature
            return _definition(
                _CLASSIFY,
                {"inputs": classification.input},
                {"classes": classification.classes, "scores": classification.scores},
            )
        case _:
            return None


def _definition(
    method: str,
    inputs: Mapping[str, session_bundle_pb2.TensorBinding],
    outputs: Mapping[str, session_bundle_pb2.TensorBinding],
) -> meta_graph_pb2.SignatureDef:
    definition = meta_graph_pb2.SignatureDef(method_name=method)
    for bindings, infos in ((inputs, definition.inputs), (outputs, definition.outputs)):
        for alias, binding in bindings.items():
            if (
                binding.tensor_name
            ):  # a classification may have classes without scores, or scores without classes
                infos[alias].name = tensor_name(binding.tensor_name)
    return definition


def _meta_graph(path: Path) -> meta_graph_pb2.MetaGraphDef:
    message = meta_graph_pb2.MetaGraphDef()
    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ServingError(
            Code.DATA_LOSS, f"Can't parse {path} as a MetaGraphDef: {error}"
        ) from error
    except OSError as error:
        raise ServingError(Code.UNAVAILABLE, f"Cannot read {path}: {error.strerror}") from error
    return message


def _values(meta_graph: meta_graph_pb2.MetaGraphDef, collection: str) -> list[any_pb2.Any]:
    return list(meta_graph.collection_def[collection].any_list.value)


def _unpacked(value: any_pb2.Any, kind: type[M], collection: str) -> M:
    # Not `Unpack`: it compares names only after the last slash as well, but raises nothing when they differ.
    wanted: Any = kind.DESCRIPTOR
    if value.type_url.rpartition("/")[2] != wanted.full_name:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"Expected Any type_url for: {wanted.full_name}. Got: {value.type_url}.",
        )
    message = kind()
    try:
        message.ParseFromString(value.value)
    except DecodeError as error:
        raise ServingError(
            Code.DATA_LOSS, f"Failed to unpack collection {collection}: {error}"
        ) from error
    return message


def _graph(meta_graph: meta_graph_pb2.MetaGraphDef) -> bytes:
    if _GRAPH not in meta_graph.collection_def:
        return bytes(meta_graph.graph_def.SerializeToString())
    values = _values(meta_graph, _GRAPH)
    if len(values) != 1:
        raise ServingError(
            Code.FAILED_PRECONDITION, f"Expected exactly one serving GraphDef in : {_GRAPH}"
        )
    return bytes(_unpacked(values[0], graph_pb2.GraphDef, _GRAPH).SerializeToString())


def _signatures(meta_graph: meta_graph_pb2.MetaGraphDef) -> session_bundle_pb2.Signatures:
    values = _values(meta_graph, _SIGNATURES)
    if not values:
        return session_bundle_pb2.Signatures()
    if len(values) != 1:
        raise ServingError(
            Code.FAILED_PRECONDITION, f"Expected exactly one signatures proto in : {_SIGNATURES}"
        )
    return _unpacked(values[0], session_bundle_pb2.Signatures, _SIGNATURES)


def _init_operation(meta_graph: meta_graph_pb2.MetaGraphDef) -> str:
    if _INIT_OP not in meta_graph.collection_def:
        return ""
    names = meta_graph.collection_def[_INIT_OP].node_list.value
    if len(names) != 1:
        raise ServingError(
            Code.FAILED_PRECONDITION, f"Expected exactly one serving init op in : {_INIT_OP}"
        )
    return str(names[0])


def _checkpoint(directory: Path) -> tuple[str, str]:
    """Return what the restore operation reads, and a name for what is missing when that is empty."""
    if (directory / "export").exists() or (directory / "export.index").exists():
        return os.fspath(directory / "export"), "export"
    shards = [
        match for path in directory.iterdir() if (match := _SHARD.fullmatch(path.name)) is not None
    ]
    found = {int(match[1]) for match in shards}
    for count in {int(match[2]) for match in shards}:
        if missing := set(range(count)) - found:
            raise not_found(
                f"The SessionBundle in {directory} is incomplete: "
                f"export-{min(missing):05d}-of-{count:05d} is missing"
            )
    return (os.fspath(directory / _SHARDS) if shards else ""), "export"
