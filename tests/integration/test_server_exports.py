"""Every kind of export that TensorFlow has written (§12, §16), loaded by the server's own loader in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import odd_exports
import savedmodels
import session_bundles
from loaders import servable_loader
from session_bundles import Format


def load(directory: Path, tags: str = "serve") -> Any:
    loader = servable_loader(tags=frozenset(tags.split(",")))
    return loader.load("m", 1, str(directory))


def refusal(directory: Path, tags: str = "serve") -> tuple[str, str]:
    from slipway_server.errors import ServingError

    with pytest.raises(ServingError) as error:
        load(directory, tags)
    return error.value.code.name, error.value.message


def run(signature: Any, model: Any, **inputs: Any) -> dict[str, Any]:
    arrays = {
        alias: np.array(value, object if _is_text(value) else None)
        for alias, value in inputs.items()
    }
    outputs = tuple(signature.outputs)
    values = model.run(signature, arrays, outputs)
    return {alias: value.tolist() for alias, value in zip(outputs, values, strict=True)}


def _is_text(value: Any) -> bool:
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, str | bytes)


def floats(*values: Any) -> Any:
    return np.array(values, np.float32)


def example(**features: Any) -> bytes:
    import tensorflow as tf

    message = tf.train.Example()
    for name, value in features.items():
        if isinstance(value, float):
            message.features.feature[name].float_list.value.append(value)
        else:
            message.features.feature[name].bytes_list.value.append(value)
    return bytes(message.SerializeToString())


# ---- SavedModel ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("main_op", [True, False], ids=["main_op", "legacy_init_op"])
@pytest.mark.parametrize("as_text", [True, False], ids=["pbtxt", "pb"])
def test_ref_and_partitioned_variables_and_a_table_from_an_asset(
    tmp_path: Path, *, as_text: bool, main_op: bool
) -> None:
    odd_exports.save_table(tmp_path / "1", tmp_path / "words", as_text=as_text, main_op=main_op)
    model = load(tmp_path / "1")
    answer = run(model.signatures["serving_default"], model, word=["b", "z"])
    assert answer == {"id": [2, 0], "total": 8.0}


def test_an_asset_that_only_the_old_collection_names(tmp_path: Path) -> None:
    odd_exports.save_table(tmp_path / "1", tmp_path / "words", as_text=False, main_op=True)
    odd_exports.edit(tmp_path / "1", lambda meta_graph: meta_graph.ClearField("asset_file_def"))
    model = load(tmp_path / "1")
    assert run(model.signatures["serving_default"], model, word=["b"])["id"] == [2]


def test_an_asset_that_is_missing(tmp_path: Path) -> None:
    odd_exports.save_table(tmp_path / "1", tmp_path / "words", as_text=False, main_op=True)
    (tmp_path / "1" / "assets" / "words").unlink()
    code, message = refusal(tmp_path / "1")
    assert code == "NOT_FOUND"
    assert message.startswith(f"{tmp_path}/1/assets/words; No such file or directory")


def test_keras_export(tmp_path: Path) -> None:
    odd_exports.save_keras(tmp_path / "1")
    model = load(tmp_path / "1")
    answer = run(model.signatures["serving_default"], model, words=[["b"], ["q"], ["a"]])
    assert answer == {"output_0": [[2.0], [0.0], [1.0]]}


SPARSE = {"sp/indices": [[0, 1], [1, 3]], "sp/values": floats(1, 2), "sp/dense_shape": [2, 4]}


def test_a_sparse_input_is_given_in_its_three_parts(tmp_path: Path) -> None:
    odd_exports.save_sparse(tmp_path / "1")
    model = load(tmp_path / "1")
    dense = run(model.signatures["serving_default"], model, **SPARSE)
    assert dense == {"dense": [[0, 2, 0, 0], [0, 0, 0, 4]]}
    sparse = run(model.signatures["to_sparse"], model, **SPARSE)
    assert sparse == {
        "sp/indices": [[0, 1], [1, 3]],
        "sp/values": [2.0, 4.0],
        "sp/dense_shape": [2, 4],
    }
    # The metadata API shows what the export says.
    assert list(model.signature_defs["serving_default"].inputs) == ["sp"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("plain") / "1"
    odd_exports.save_plain(directory)
    return load(directory)


X = floats([1, 2])

SIGNATURES = [
    ("a default that is used", "serving_default", {"x": X}, {"y": [[3.5, 6.5]]}),
    (
        "a default that is not",
        "serving_default",
        {"x": X, "bias": np.float32(0)},
        {"y": [[3.0, 6.0]]},
    ),
    ("no inputs", "no_inputs", {}, {"scale": 3.0}),
    ("a reference to a variable", "reference", {}, {"scale": 3.0}),
    ("infos without type and shape", "thin", {"x": X, "bias": np.float32(0)}, {"y": [[3.0, 6.0]]}),
]


@pytest.mark.parametrize(
    ("key", "inputs", "outputs"), [pytest.param(*row[1:], id=row[0]) for row in SIGNATURES]
)
def test_a_signature_of_an_unusual_kind(
    plain: Any, key: str, inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    assert run(plain.signatures[key], plain, **inputs) == outputs


def test_what_an_info_does_not_say_is_read_from_the_graph(plain: Any) -> None:
    from slipway_server.servables.dtypes import DType

    x, y = plain.signatures["thin"].inputs["x"], plain.signatures["thin"].outputs["y"]
    assert (x.dtype, x.shape) == (DType.FLOAT, (-1, 2))
    assert (y.dtype, y.shape) == (DType.FLOAT, (-1, 2))
    shown = plain.signature_defs["thin"].inputs["x"]
    assert (shown.dtype, [dim.size for dim in shown.tensor_shape.dim]) == (DType.FLOAT, [-1, 2])
    # A scalar that was declared stays one.
    assert plain.signatures["serving_default"].inputs["bias"].shape == ()
    assert plain.signatures["reference"].outputs["scale"].dtype == DType.FLOAT


def test_one_broken_signature_does_not_spoil_the_others(plain: Any) -> None:
    from slipway_server.errors import ServingError

    with pytest.raises(ServingError, match="nowhere:0"):
        run(plain.signatures["broken"], plain, x=X)
    assert "gone" not in plain.signatures["serving_default"].defaults
    assert "bias" not in plain.signatures["thin"].defaults


def test_a_signature_made_for_one_call_is_compiled_once(plain: Any) -> None:
    from slipway_server.servables.signature import Signature

    own = plain.signatures["no_inputs"]
    sizes = set()
    for _ in range(3):
        together = Signature("a+b", "", {}, {"a/scale": own.outputs["scale"]})
        assert run(together, plain) == {"a/scale": 3.0}
        sizes.add((len(plain._by_tensors), len(plain._calls)))
    assert len(sizes) == 1


def test_tags_are_matched_as_a_set(tmp_path: Path) -> None:
    savedmodels.save_old(tmp_path / "1", tmp_path / "words")
    for tags, factor in (("serve", 3.0), ("gpu,serve", 4.0)):
        model = load(tmp_path / "1", tags)
        assert run(model.signatures["serving_default"], model, x=floats(2)) == {"y": [2 * factor]}
    code, message = refusal(tmp_path / "1", "serve,other")
    assert code == "NOT_FOUND"
    assert message == (
        "Could not find meta graph def matching supplied tags: { other serve }. To inspect available tag-sets in the "
        "SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )


# ---- legacy SessionBundle --------------------------------------------------------------------------------------


@pytest.mark.parametrize("variables", Format)
def test_a_bundle_predicts_and_regresses_under_one_name(tmp_path: Path, variables: Format) -> None:
    directory = session_bundles.save_half_plus_two(tmp_path, 123, variables)
    model = load(directory)
    predict = model.signatures["serving_default"]
    assert predict.method == "tensorflow/serving/predict"
    assert run(predict, model, x=floats([2], [4])) == {"y": [[3.0], [4.0]]}
    regress = model.example_signatures["serving_default"]
    assert regress.method == "tensorflow/serving/regress"
    assert run(regress, model, inputs=[example(x=4.0)]) == {"outputs": [[4.0]]}


def test_a_bundle_with_an_init_op_and_an_asset(tmp_path: Path) -> None:
    model = load(session_bundles.save_words_bundle(tmp_path, tmp_path / "words"))
    predict = model.signatures["serving_default"]
    assert run(predict, model, word=[["bee"], ["cow"]]) == {"id": [[1], [-1]]}
    classify = model.example_signatures["serving_default"]
    assert run(classify, model, inputs=[example(word=b"bee")]) == {
        "classes": [[b"bee"]],
        "scores": [[1.0]],
    }
    scores = model.signatures["scores_only"]
    assert scores.method == "tensorflow/serving/classify"
    assert list(scores.outputs) == ["scores"]
    assert "stray" not in model.signatures


def test_types_and_shapes_of_a_bundle_come_from_its_graph(tmp_path: Path) -> None:
    from slipway_server.servables.dtypes import DType

    model = load(session_bundles.save_half_plus_two(tmp_path, 1, Format.V1))
    x = model.signatures["serving_default"].inputs["x"]
    assert (x.tensor, x.dtype, x.shape) == ("x:0", DType.FLOAT, (-1, 1))
    shown = model.signature_defs["serving_default"].inputs["x"]
    assert shown.dtype == DType.FLOAT
    assert [dim.size for dim in shown.tensor_shape.dim] == [-1, 1]


def _without(pattern: str) -> Callable[[Path], None]:
    def remove(directory: Path) -> None:
        removed = [path.unlink() for path in directory.glob(pattern)]
        assert removed

    return remove


def _collections(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def rewrite(directory: Path) -> None:
        from tensorflow.core.protobuf import meta_graph_pb2

        path = directory / "export.meta"
        meta_graph = meta_graph_pb2.MetaGraphDef.FromString(path.read_bytes())
        change(meta_graph)
        path.write_bytes(meta_graph.SerializeToString())

    return rewrite


def _two_graphs(meta_graph: Any) -> None:
    graphs = meta_graph.collection_def["serving_graph"].any_list.value
    graphs.add().CopyFrom(graphs[0])


def _wrong_type(meta_graph: Any) -> None:
    meta_graph.collection_def["serving_signatures"].any_list.value[0].type_url = "a.b/c.D"


def _two_inits(meta_graph: Any) -> None:
    meta_graph.collection_def["serving_init_op"].node_list.value.extend(["a", "b"])


def _unknown_restore(meta_graph: Any) -> None:
    meta_graph.saver_def.restore_op_name = "save/nothing"


BROKEN_BUNDLES: list[tuple[str, Callable[[Path], None], str, str]] = [
    ("no variables", _without("export-*"), "NOT_FOUND", "export is missing"),
    (
        "a missing shard",
        _without("export-00001-of-00002"),
        "NOT_FOUND",
        "export-00001-of-00002 is missing",
    ),
    (
        "two serving graphs",
        _collections(_two_graphs),
        "FAILED_PRECONDITION",
        "Expected exactly one serving GraphDef",
    ),
    (
        "two init operations",
        _collections(_two_inits),
        "FAILED_PRECONDITION",
        "Expected exactly one serving init op",
    ),
    (
        "signatures of another type",
        _collections(_wrong_type),
        "FAILED_PRECONDITION",
        "Expected Any type_url for: tensorflow.serving.Signatures. Got: a.b/c.D.",
    ),
    (
        "a restore operation that is not there",
        _collections(_unknown_restore),
        "INVALID_ARGUMENT",
        "no operation save/nothing",
    ),
    (
        "a truncated meta-graph",
        lambda path: (path / "export.meta").write_bytes(b"\x0a\xff") and None,
        "DATA_LOSS",
        "Can't parse",
    ),
]


@pytest.mark.parametrize(
    ("damage", "code", "message"), [pytest.param(*row[1:], id=row[0]) for row in BROKEN_BUNDLES]
)
def test_a_broken_bundle_is_refused_for_good(
    tmp_path: Path, damage: Callable[[Path], None], code: str, message: str
) -> None:
    directory = session_bundles.save_half_plus_two(tmp_path, 123, Format.V1_SHARDS)
    damage(directory)
    refused = refusal(directory)
    assert refused[0] == code
    assert message in refused[1]


def test_a_directory_with_both_is_a_saved_model(tmp_path: Path) -> None:
    directory = session_bundles.save_half_plus_two(tmp_path, 1, Format.V1)
    savedmodels.save_double(tmp_path / "new", 1)
    for path in (tmp_path / "new").iterdir():
        path.rename(directory / path.name)
    assert "scalar" in load(directory).signatures


def test_a_directory_with_neither(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    code, message = refusal(tmp_path)
    assert code == "NOT_FOUND"
    assert message.startswith(
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
        f"`saved_model.pb`)\nSpecified file path: {tmp_path}"
    )
    assert message.endswith(
        "Session bundle or SavedModel bundle not found at specified export location"
    )
