"""TensorFlow Lite files (§1.1 `--prefer_tflite_model`, §12), loaded by the server's own loader in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

import lite_models
import savedmodels
from loaders import servable_loader


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("lite")
    lite_models.save_signatures(directory)
    return directory


def load(directory: Path, interpreters: int = 1) -> Any:
    return servable_loader(lite_interpreters=interpreters).load("m", 1, str(directory))


@pytest.fixture(scope="module")
def model(directory: Path) -> Any:
    return load(directory, interpreters=2)


def run(model: Any, key: str, **inputs: Any) -> dict[str, Any]:
    signature = model.signatures[key]
    arrays = {alias: np.array(value) for alias, value in inputs.items()}
    values = model.run(signature, arrays, tuple(signature.outputs))
    return {alias: value.tolist() for alias, value in zip(signature.outputs, values, strict=True)}


def floats(*values: Any) -> Any:
    return np.array(values, np.float32)


def words(*values: bytes) -> Any:
    return np.array(values, object)


@pytest.mark.parametrize("size", [1, 3, 0, 2])
def test_any_batch(model: Any, size: int) -> None:
    assert run(model, "serving_default", x=np.zeros(size, np.float32)) == {"y": [2.0] * size}


def test_strings(model: Any) -> None:
    assert run(model, "column", word=words(b"a\0c", b"", "é".encode())) == {
        "column": [[b"a\0c"], [b""], ["é".encode()]],
        "size": [3],
    }


def test_a_batch_that_was_converted_as_one_row(model: Any) -> None:
    rows = floats([1, 2, 3], [0, 0, 1])
    assert run(model, "fixed", a=rows, b=rows) == {"sum": [[12.0, 12.0], [2.0, 2.0]]}


def test_rows_of_a_file_for_one_are_not_mixed(model: Any) -> None:
    images = np.random.default_rng(1).random((3, 4, 4, 1)).astype(np.float32)
    alone = [run(model, "detect", image=images[row : row + 1])["boxes"] for row in range(3)]
    assert np.shape(alone[0]) == (1, 5, 2)
    assert run(model, "detect", image=images)["boxes"] == [rows for [rows] in alone]
    assert run(model, "detect", image=images[:1])["boxes"] == alone[0]


def test_an_output_without_rows_has_no_answer_for_several(model: Any) -> None:
    from slipway_server.errors import Code, ServingError

    assert run(model, "flat", x=floats([1, 2, 3])) == {"y": [1.0, 2.0, 3.0]}
    with pytest.raises(ServingError) as error:
        run(model, "flat", x=floats([1, 2, 3], [4, 5, 6]))
    assert error.value.code is Code.INVALID_ARGUMENT
    assert error.value.message == (
        'The model takes 1 row in a request with signature "flat", but 2 were sent, and it returned output "y" with '
        "the shape [3] for a single one: send 1 row in each request"
    )


def test_no_row_is_begun_after_the_deadline(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from slipway_server.errors import Code, ServingError
    from slipway_server.servables.tflite import model as module

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            self.now += 1
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    rows = np.zeros((100, 3), np.float32)
    with pytest.raises(ServingError) as error:
        model.run(model.signatures["fixed"], {"a": rows, "b": rows}, ("sum",), 10.5)
    assert error.value.code is Code.DEADLINE_EXCEEDED
    assert clock.now == 11


def test_a_selection_of_the_outputs(model: Any) -> None:
    column = model.signatures["column"]
    assert [one.tolist() for one in model.run(column, {"word": words(b"a")}, ("size",))] == [[1]]


def test_types_and_shapes(model: Any) -> None:
    from slipway_server.servables.dtypes import DType

    x = model.signatures["serving_default"].inputs["x"]
    assert (x.dtype, x.shape) == (DType.FLOAT, (-1,))
    column = model.signatures["column"]
    assert column.inputs["word"].dtype is DType.STRING
    assert column.outputs["size"].dtype is DType.INT32
    assert column.outputs["column"].shape == (-1, 1)
    shown = model.signature_defs["column"]
    assert shown.method_name == "tensorflow/serving/predict"
    assert [dim.size for dim in shown.outputs["column"].tensor_shape.dim] == [-1, 1]


BAD: list[tuple[str, str, dict[str, Any], str]] = [
    ("another type", "serving_default", {"x": np.array([1, 2])}, "INVALID_ARGUMENT"),
    (
        "a shape that fits no operation",
        "fixed",
        {"a": floats([1, 2]), "b": floats([1, 2])},
        "INTERNAL",
    ),
    ("a missing input", "fixed", {"a": floats([1, 2, 3])}, "INVALID_ARGUMENT"),
]


@pytest.mark.parametrize(
    ("key", "inputs", "code"), [pytest.param(*row[1:], id=row[0]) for row in BAD]
)
def test_a_bad_request_harms_no_other(
    model: Any, key: str, inputs: dict[str, Any], code: str
) -> None:
    from slipway_server.errors import ServingError

    for _ in range(3):  # each interpreter of the pool meets it
        with pytest.raises(ServingError) as error:
            run(model, key, **inputs)
        assert error.value.code.name == code
    for _ in range(2):
        assert run(model, "serving_default", x=floats(2, 4)) == {"y": [3.0, 4.0]}
        assert run(model, "fixed", a=floats([1, 2, 3]), b=floats([0, 0, 0])) == {
            "sum": [[6.0, 6.0]]
        }


def test_without_signatures_aliases_are_the_tensors_names(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(lite_models.plain())
    model = load(tmp_path)
    for values, answers in ([2.0], [3.0]), ([2.0, 4.0], [3.0, 4.0]), ([], []):
        assert run(model, "serving_default", x=floats(*values)) == {"Identity": answers}


def _definition(inputs: Mapping[str, str], outputs: Mapping[str, str], method: str) -> bytes:
    from tensorflow.core.protobuf import meta_graph_pb2

    definition = meta_graph_pb2.SignatureDef(method_name=method)
    for names, infos in ((inputs, definition.inputs), (outputs, definition.outputs)):
        for alias, name in names.items():
            infos[alias].name = name
    return bytes(definition.SerializeToString())


def test_signature_defs_in_the_metadata_name_the_aliases(tmp_path: Path) -> None:
    definition = _definition(
        {"inputs": "x:0"}, {"outputs": "Identity:0"}, "tensorflow/serving/regress"
    )
    content = lite_models.with_signature_defs(lite_models.plain(), {"any key": definition})
    (tmp_path / "model.tflite").write_bytes(content)
    model = load(tmp_path)
    assert run(model, "serving_default", inputs=floats(2)) == {"outputs": [3.0]}
    assert model.signatures["serving_default"].method == "tensorflow/serving/regress"


def _refusal(content: bytes, directory: Path) -> str:
    from slipway_server.errors import Code, ServingError

    (directory / "model.tflite").write_bytes(content)
    with pytest.raises(ServingError) as error:
        load(directory)
    assert error.value.code is Code.INVALID_ARGUMENT
    return error.value.message


def _defined(definitions: Mapping[str, bytes]) -> bytes:
    return lite_models.with_signature_defs(lite_models.plain(), dict(definitions))


def test_files_that_are_refused(tmp_path: Path) -> None:
    whole = _definition({"inputs": "x:0"}, {"outputs": "Identity:0"}, "m")
    partial = _definition({"inputs": "x:0"}, {}, "m")
    cases: Sequence[tuple[bytes, str]] = (
        (b"no flatbuffer at all", "Cannot build an interpreter"),
        (b"", "Cannot build an interpreter"),
        (lite_models.plain()[:500], "Cannot build an interpreter"),
        (_defined({"a": whole, "b": whole}), "Multiple SignatureDefs found in TfLite model"),
        (_defined({"a": b"\x0a\x7f"}), "Invalid SignatureDefs found in TfLite model"),
        (_defined({"a": partial}), "does not name tensor Identity"),
    )
    for content, message in cases:
        assert message in _refusal(content, tmp_path)


@pytest.mark.parametrize("second", [False, True], ids=["first graph", "second graph"])
def test_a_file_with_tensorflow_operations_gives_way_to_the_saved_model_beside_it(
    tmp_path: Path, *, second: bool
) -> None:
    lite_models.save_with_tensorflow_operations(tmp_path, second=second)
    key = "zinvert" if second else "serving_default"
    with structlog.testing.capture_logs() as log:
        model = load(tmp_path)
    assert run(model, key, x=floats(2, 4)) == {"y": [0.5, 0.25]}
    sentence = (
        f"{tmp_path}/model.tflite needs TensorFlow operations (SELECT_TF_OPS) that this build of TensorFlow Lite "
        "does not have: FlexMatrixDiagPartV3, FlexMatrixInverse. Serve it as a SavedModel, which may be in the same "
        "directory, or convert it with built-in operations only"
    )
    [warning] = log
    assert (warning["log_level"], warning["reason"]) == ("warning", sentence)
    (tmp_path / "saved_model.pb").unlink()
    assert _refusal((tmp_path / "model.tflite").read_bytes(), tmp_path) == sentence


def test_a_file_with_a_custom_operation_is_refused_by_its_name(tmp_path: Path) -> None:
    assert _refusal(lite_models.with_custom_operation(), tmp_path) == (
        f"{tmp_path}/model.tflite needs custom operations that this build of TensorFlow Lite does not have: Erfinv. "
        "Serve it as a SavedModel, which may be in the same directory, or convert it with built-in operations only"
    )


def test_a_saved_model_is_loaded_unless_lite_files_are_preferred(
    directory: Path, tmp_path: Path
) -> None:
    savedmodels.save_double(tmp_path, 1)
    (tmp_path / "model.tflite").write_bytes((directory / "model.tflite").read_bytes())
    assert "scalar" in load(tmp_path, interpreters=0).signatures
    assert "column" in load(tmp_path, interpreters=1).signatures


def test_a_preference_does_not_keep_saved_models_from_loading(tmp_path: Path) -> None:
    savedmodels.save_double(tmp_path, 1)
    assert "scalar" in load(tmp_path, interpreters=1).signatures


class Busy:
    """Takes interpreters out of a pool as running requests do."""

    def __init__(self, model: Any, count: int) -> None:
        self._idle = model._idle
        self._taken = [self._idle.get_nowait() for _ in range(count)]

    def end(self) -> None:
        for one in self._taken:
            self._idle.put(one)


def test_a_request_waits_for_an_idle_interpreter_and_no_longer_than_its_deadline(
    directory: Path,
) -> None:
    from slipway_server.errors import Code, ServingError

    model = load(directory, interpreters=2)
    signature = model.signatures["serving_default"]
    busy = Busy(model, 2)
    for late in (time.monotonic() - 1, time.monotonic() + 0.01):
        with pytest.raises(ServingError) as error:
            model.run(signature, {"x": floats(2)}, ("y",), late)
        assert error.value.code is Code.DEADLINE_EXCEEDED
    answers: list[Any] = []
    waiting = threading.Thread(
        target=lambda: answers.append(model.run(signature, {"x": floats(2)}, ("y",)))
    )
    waiting.start()
    busy.end()
    waiting.join(60)
    assert answers[0][0].tolist() == [3.0]


def test_interpreters_answer_side_by_side(directory: Path) -> None:
    model = load(directory, interpreters=3)
    wrong: list[Any] = []

    def ask(base: int) -> None:
        for size in range(1, 60):
            x = np.arange(base, base + size, dtype=np.float32)
            answer = run(model, "serving_default", x=x)["y"]
            if answer != (x / 2 + 2).tolist():
                wrong.append((base, size))

    threads = [threading.Thread(target=ask, args=(base,)) for base in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
