"""The trial run (§12): which inputs it makes, what fails a load, and that nothing waits for it without end."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from slipway_server.errors import Code, ModelFaultError, ServingError, invalid_argument
from slipway_server.loading.trial_run import MAX_ELEMENTS, TrialRunLoader, trial_inputs
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec


def signature(key: str = "serving_default", **more: Any) -> Signature:
    inputs = more.pop("inputs", {"x": TensorSpec("x:0", DType.FLOAT, (-1, 3))})
    return Signature(key, "", inputs, {"y": TensorSpec("y:0", DType.FLOAT, None)}, **more)


class Model:
    """Runs what a test says; also the loader that returns it."""

    def __init__(self, run: Callable[[str], None], *signatures: Signature) -> None:
        self._run = run
        self.signatures = {one.key: one for one in signatures or (signature(),)}
        self.example_signatures: Mapping[str, Signature] = {}
        self.signature_defs: Mapping[str, Any] = {}
        self.ran: list[tuple[str, dict[str, Array], tuple[str, ...]]] = []
        self.unloaded = False

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,
    ) -> list[Array]:
        assert deadline is None
        self.ran.append((signature.key, dict(inputs), tuple(outputs)))
        self._run(signature.key)
        return []

    def close(self) -> None: ...

    def load(self, model: str, version: int, path: str) -> Model:
        assert (model, version, path) == ("m", 7, "/p")
        return self

    def unload(self, content: Model) -> None:
        assert content is self
        self.unloaded = True


def fine(_: str) -> None: ...


def load(model: Model, **more: Any) -> Model:
    return TrialRunLoader[Model](model, **more).load("m", 7, "/p")


def test_each_signature_is_run_once_with_zeros_and_all_its_outputs() -> None:
    model = Model(fine, signature("a"), signature("b"))
    model.example_signatures = {"c": signature("c")}
    assert load(model) is model
    assert [(key, outputs) for key, _, outputs in model.ran] == [
        (key, ("y",)) for key in ("a", "b", "c")
    ]
    [x] = model.ran[0][1].values()
    assert (x.dtype, x.tolist()) == (np.float32, [[0.0, 0.0, 0.0]])
    assert not model.unloaded


SPECS = {
    "text": (TensorSpec("x:0", DType.STRING, (-1,)), [b""]),
    "a scalar": (TensorSpec("x:0", DType.INT64, ()), 0),
    "nothing at all": (TensorSpec("x:0", DType.INT64, (0, 5)), []),
}


@pytest.mark.parametrize("name", SPECS)
def test_an_input_of(name: str) -> None:
    spec, expected = SPECS[name]
    inputs = trial_inputs(signature(inputs={"x": spec}))
    assert inputs is not None
    assert inputs["x"].tolist() == expected
    assert inputs["x"].dtype == spec.dtype.numpy


def test_an_input_with_a_default_is_left_out() -> None:
    inputs = {"x": TensorSpec("x:0", DType.FLOAT, None), "z": TensorSpec("z:0", DType.BOOL, ())}
    found = trial_inputs(signature(inputs=inputs, defaults={"x": np.zeros(3)}))
    assert found == {"z": False}


UNTRIED = {
    "of any rank": signature(inputs={"x": TensorSpec("x:0", DType.FLOAT, None)}),
    "that no request can bring": signature(inputs={"x": TensorSpec("x:0", DType.RESOURCE, ())}),
    "of a size that could harm": signature(
        inputs={"x": TensorSpec("x:0", DType.BOOL, (MAX_ELEMENTS, 2**40))}
    ),
    "that change what comes after": signature(stateful=True),
}


@pytest.mark.parametrize("name", UNTRIED)
def test_nothing_is_run_for_inputs(name: str) -> None:
    model = Model(fine, UNTRIED[name])
    load(model)
    assert model.ran == []


def failing(error: Exception) -> Callable[[str], None]:
    def run(_: str) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    "error", [invalid_argument("x must be positive"), RuntimeError("whatever")], ids=repr
)
def test_a_failure_that_may_be_the_values_does_not_fail_the_load(error: Exception) -> None:
    model = Model(failing(error), signature("a"), signature("b"))
    assert load(model) is model
    assert len(model.ran) == 2


def test_a_fault_of_the_model_fails_the_load_for_good_and_releases_it() -> None:
    model = Model(failing(ModelFaultError("Table not initialized.")))
    with pytest.raises(ServingError) as error:
        load(model)
    assert error.value.code is Code.FAILED_PRECONDITION
    assert not error.value.transient
    assert error.value.message == (
        'Signature "serving_default" of version 7 of model m can answer no request: Table not initialized. '
        "(found by a trial run; --trial_run=false loads the version without)"
    )
    assert model.unloaded


def test_a_run_without_end_is_not_waited_for_and_none_comes_after_it() -> None:
    go = threading.Event()
    model = Model(lambda _: go.wait(60) and None, signature("a"), signature("b"))
    try:
        assert load(model, seconds=0.05) is model
        assert [key for key, *_ in model.ran] == ["a"]
    finally:
        go.set()


def test_a_version_whose_trial_failed_goes_without_the_collector() -> None:
    def fails(_: str) -> None:
        raise ValueError("zeros are refused")

    gc.disable()
    try:
        model = load(Model(fails))
        gone = weakref.ref(model)
        del model
        assert gone() is None
    finally:
        gc.enable()
