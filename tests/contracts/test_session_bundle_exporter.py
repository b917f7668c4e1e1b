"""The example's exporter writes what the server reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway_server.wire import session_bundle_pb2


@dataclass
class Tensor:
    name: str


@pytest.mark.parametrize("version_name", [1, 20260101])
def test_the_manifest_is_that_of_tensorflow_serving(tmp_path: Path, version_name: int) -> None:
    import tensorflow as tf
    from tensorflow.core.protobuf import meta_graph_pb2

    import slipway_exporter as exporter

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.Variable(1.0, name="v", use_resource=False)
        version = tf.constant(version_name)
        session.run(v1.global_variables_initializer())
        written = exporter.Exporter(v1.train.Saver(sharded=True))
        written.init(
            session.graph.as_graph_def(),
            default_graph_signature=exporter.classification_signature(
                Tensor("x:0"), classes_tensor=Tensor("c:0"), scores_tensor=Tensor("y:0")
            ),
            named_graph_signatures={
                "inputs": exporter.generic_signature({"a": Tensor("x:0"), "b": Tensor("z:0")}),
                "area": exporter.regression_signature(Tensor("x:0"), Tensor("r:0")),
            },
        )
        path = Path(written.export(str(tmp_path / "base"), version, session))
        with pytest.raises(FileExistsError, match="export a higher version"):
            written.export(str(tmp_path / "base"), version, session)
        with pytest.raises(ValueError, match=r"Exporter\.init was called before"):
            written.init(session.graph.as_graph_def())
    assert path.name == f"{version_name:08d}"
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    meta_graph = meta_graph_pb2.MetaGraphDef.FromString((path / "export.meta").read_bytes())
    (packed,) = meta_graph.collection_def["serving_signatures"].any_list.value
    read = session_bundle_pb2.Signatures()
    assert packed.Unpack(read)
    default = read.default_signature.classification_signature
    assert (default.input.tensor_name, default.classes.tensor_name, default.scores.tensor_name) == (
        "x:0",
        "c:0",
        "y:0",
    )
    area = read.named_signatures["area"].regression_signature
    assert (area.input.tensor_name, area.output.tensor_name) == ("x:0", "r:0")
    bound = read.named_signatures["inputs"].generic_signature.map
    assert {name: one.tensor_name for name, one in bound.items()} == {"a": "x:0", "b": "z:0"}
    assert meta_graph.saver_def.sharded
