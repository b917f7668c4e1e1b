"""A version that cannot answer must not replace one that can (§12): what is restored, and what is refused and how."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import faulty_exports
import odd_exports
import savedmodels
import warmups
from loaders import servable_loader
from modelserver import ModelServer, eventually, running


def load(directory: Path, *, trial: bool = False) -> Any:
    from slipway_server.loading.trial_run import TrialRunLoader

    loader = servable_loader()
    return (TrialRunLoader(loader) if trial else loader).load("m", 1, str(directory))


def refusal(directory: Path, *, trial: bool = False) -> tuple[str, str]:
    from slipway_server.errors import ServingError

    with pytest.raises(ServingError) as error:
        load(directory, trial=trial)
    assert not error.value.transient
    return error.value.code.name, error.value.message


def answer(model: Any, x: Any, key: str = "serving_default") -> Any:
    signature = model.signatures[key]
    [alias] = signature.inputs
    [value] = model.run(signature, {alias: np.array(x, np.float32)}, tuple(signature.outputs))
    return value.tolist()


# ---- Keras 3 by tf.saved_model.save ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras_objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keras") / "1"
    faulty_exports.save_keras_objects(directory)
    return directory


def test_variables_are_restored_by_the_objects_that_were_exported(keras_objects: Path) -> None:
    assert answer(load(keras_objects, trial=True), [[1.0], [2.0]]) == [[14.0], [20.0]]


def test_a_subclass_with_a_signature_of_its_own(tmp_path: Path) -> None:
    faulty_exports.save_keras_subclass(tmp_path / "1")
    assert answer(load(tmp_path / "1", trial=True), [[1.0], [2.0]]) == [[3.0], [5.0]]


def test_such_an_export_is_served_as_python_serves_it(keras_objects: Path) -> None:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(keras_objects))
    function = loaded.signatures["serving_default"]
    [alias] = function.structured_input_signature[1]
    x = tf.constant([[0.5], [-1.0]])
    [expected] = function(**{alias: x}).values()
    assert answer(load(keras_objects), x.numpy()) == expected.numpy().tolist()


def _with_checkpoint(source: Path, target: Path, values: dict[str, Any]) -> Path:
    """Copy an export and give it other variables."""
    import tensorflow as tf

    shutil.copytree(source, target)
    shutil.rmtree(target / "variables")
    tf.raw_ops.SaveV2(
        prefix=str(target / "variables" / "variables"),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )
    odd_exports.edit(target, lambda meta_graph: meta_graph.ClearField("saver_def"))
    return target


def _values(directory: Path) -> dict[str, Any]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(directory / "variables" / "variables"))
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}


def test_a_variable_whose_value_is_missing_is_named(keras_objects: Path, tmp_path: Path) -> None:
    values = _values(keras_objects)
    kept = {key: value for key, value in values.items() if "bias" not in key}
    assert 0 < len(kept) < len(values)
    code, message = refusal(_with_checkpoint(keras_objects, tmp_path / "1", kept))
    assert code == "FAILED_PRECONDITION"
    assert message.startswith('Variable "')
    assert 'which signature "serving_default" reads, has no value' in message
    assert "export again" in message


def test_a_value_of_another_shape_is_refused(keras_objects: Path, tmp_path: Path) -> None:
    values = {key: np.zeros([7, 7], np.float32) for key in _values(keras_objects)}
    code, message = refusal(_with_checkpoint(keras_objects, tmp_path / "1", values))
    assert code == "INVALID_ARGUMENT"
    assert "a value of the shape [7, 7]" in message


# ---- variables of TensorFlow 1 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", [True, False], ids=["resource", "reference"])
def test_a_variable_that_nothing_initialises_is_named(tmp_path: Path, *, resource: bool) -> None:
    faulty_exports.save_without_value(tmp_path / "1", resource=resource)
    code, message = refusal(tmp_path / "1")
    assert code == "FAILED_PRECONDITION"
    assert message.startswith('Variable "local", which signature "local" reads, has no value')
    # Without that signature nobody reads it; another is set by the signature itself, and a third is not read at all.
    faulty_exports.without_signature(tmp_path / "1", "local")
    model = load(tmp_path / "1")
    assert answer(model, [1.0, 2.0]) == [2.0, 4.0]
    assert answer(model, [1.0, 2.0], "own") == [3.0, 6.0]


# ---- operations of a Python process ----------------------------------------------------------------------------

KINDS = (
    *("PyFunc", "PyFuncStateless", "EagerPyFunc"),
    *("a branch", "a loop", "a function of a function", "a data set"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_of_python_is_refused_by_operation_and_node(tmp_path: Path, kind: str) -> None:
    faulty_exports.save_function(tmp_path / "1", faulty_exports.python_calls()[kind])
    code, message = refusal(tmp_path / "1")
    assert code == "NOT_FOUND"
    operation = kind if kind.endswith(("PyFunc", "Stateless")) else ""
    assert message.startswith(f"Op type not registered '{operation}")
    assert 'of function "' in message
    assert 'which signature "serving_default" runs' in message
    assert "Traceback" not in message


def test_a_call_of_python_that_no_signature_runs_is_no_reason(tmp_path: Path) -> None:
    faulty_exports.save_unreached_python(tmp_path / "1")
    assert answer(load(tmp_path / "1"), [1.0]) == [2.0]


# ---- the trial run ---------------------------------------------------------------------------------------------


def _save_gpu_only(directory: Path) -> None:
    faulty_exports.save_function(directory, faulty_exports.gpu_only)


NEVER: dict[str, tuple[Callable[[Path], None], str]] = {
    "an operation without kernel": (_save_gpu_only, "CudnnRNN"),
    "a table that nobody fills": (faulty_exports.save_empty_table, "Table not initialized"),
}


@pytest.mark.parametrize("fault", NEVER)
def test_what_no_request_can_change_fails_the_load(tmp_path: Path, fault: str) -> None:
    save, words = NEVER[fault]
    save(tmp_path / "1")
    code, message = refusal(tmp_path / "1", trial=True)
    assert code == "FAILED_PRECONDITION"
    assert message.startswith(
        'Signature "serving_default" of version 1 of model m can answer no request: '
    )
    assert words in message
    assert "--trial_run=false" in message


@pytest.mark.parametrize("fault", NEVER)
def test_a_request_to_such_a_model_is_the_servers_fault(tmp_path: Path, fault: str) -> None:
    from slipway_server.errors import ServingError
    from slipway_server.loading.trial_run import trial_inputs

    save, words = NEVER[fault]
    save(tmp_path / "1")
    model = load(tmp_path / "1")
    signature = model.signatures["serving_default"]
    inputs = trial_inputs(signature)
    assert inputs
    with pytest.raises(ServingError, match=words) as error:
        model.run(signature, inputs, tuple(signature.outputs))
    assert error.value.code.name == "INTERNAL"
    assert str(tmp_path) not in error.value.message


def test_what_depends_on_the_values_is_no_reason(tmp_path: Path) -> None:
    faulty_exports.save_function(tmp_path / "1", faulty_exports.picky)
    model = load(tmp_path / "1", trial=True)
    assert answer(model, [1.0]) == [1.0]


def test_a_model_that_counts_its_runs_is_not_tried(tmp_path: Path) -> None:
    warmups.save_counting(tmp_path / "1")
    model = load(tmp_path / "1", trial=True)
    assert {key for key, one in model.signatures.items() if one.stateful} == {
        *("serving_default", "classify", "regress")
    }
    assert int(model.run(model.signatures["count"], {}, ("count",))[0]) == 0


def test_a_model_that_assigns_to_a_slice_is_not_tried(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.seen = tf.Variable([0.0, 0.0])

    def step() -> Any:
        with tf.control_dependencies([module.seen[0].assign(module.seen[0] + 1.0)]):
            return {"y": module.seen.read_value()}

    module.run = tf.function(step, input_signature=[])
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.run)
    model = load(tmp_path / "1", trial=True)
    [signature] = model.signatures.values()
    assert signature.stateful
    assert model.run(signature, {}, ("y",))[0].tolist() == [1.0, 0.0]


def test_a_file_of_its_own_that_a_model_lacks_is_its_fault_and_named_without_its_place(
    tmp_path: Path,
) -> None:
    import tensorflow as tf

    from slipway_server.errors import ServingError

    (tmp_path / "words").write_text("hello")
    module = tf.Module()
    module.words = tf.saved_model.Asset(str(tmp_path / "words"))
    module.run = tf.function(
        lambda: {"y": tf.io.read_file(module.words.asset_path)}, input_signature=[]
    )
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.run)
    model = load(tmp_path / "1")
    (tmp_path / "1" / "assets" / "words").unlink()
    with pytest.raises(ServingError) as error:
        model.run(model.signatures["serving_default"], {}, ("y",))
    assert error.value.code.name == "INTERNAL"
    assert error.value.message.startswith("assets/words; No such file or directory")


# ---- in a server -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModelServer, Path]]:
    root = tmp_path_factory.mktemp("site")
    savedmodels.save_double(root / "m" / "1", 1)
    flags = ("--model_name=m", f"--model_base_path={root}/m", "--drain_seconds=0")
    with running(root, *flags) as server:
        eventually("version 1 serves", lambda: server.states("m").get(1) == "AVAILABLE")
        yield server, root


def test_the_version_before_goes_on_and_a_good_one_comes_after(
    site: tuple[ModelServer, Path], keras_objects: Path
) -> None:
    server, root = site

    def publish(version: int, save: Callable[[Path], None]) -> str:
        hidden = root / f"incoming-{version}"
        save(hidden)
        hidden.rename(root / "m" / str(version))
        ended = {"AVAILABLE", "END"}
        eventually(f"version {version}", lambda: server.states("m").get(version) in ended)
        return str(server.states("m")[version])

    def predictions(body: str) -> Any:
        return server.http.post("/v1/models/m:predict", content=body).json()

    twice = faulty_exports.python_calls()["PyFunc"]
    bad = (lambda path: faulty_exports.save_function(path, twice), _save_gpu_only)
    for version, save in enumerate(bad, start=2):
        assert publish(version, save) == "END"
        assert predictions('{"instances": [1.0]}') == {"predictions": [3.0]}
    assert publish(4, lambda path: shutil.copytree(keras_objects, path)) == "AVAILABLE"
    eventually(
        "version 4 answers",
        lambda: predictions('{"instances": [[1.0]]}') == {"predictions": [[14.0]]},
    )
