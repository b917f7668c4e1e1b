"""A plug-in's servable behind the contract of every loaded version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway_server.errors import Code, ServingError
from slipway_server.plugins.api import Array, PluginError, Signature, Tensor
from slipway_server.servables.dtypes import DType
from slipway_server.servables.plugin import PluginLoader, PluginModel


class Echo:
    """Answers with what a test gave it."""

    def __init__(self, answer: Any = None, dtype: str = "int64") -> None:
        self.answer = answer
        self.signatures = {
            "serving_default": Signature({"x": Tensor("string")}, {"y": Tensor(dtype, (-1,))})
        }
        self.closed = False

    def run(
        self, _signature: str, inputs: Mapping[str, Array], _deadline: float | None
    ) -> Mapping[str, Array]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or {"y": np.arange(len(inputs["x"]))}

    def close(self) -> None:
        self.closed = True


def run(servable: Echo) -> list[Array]:
    model = PluginModel("echo", servable)
    inputs = {"x": np.array([b"a", b"b"], object)}
    return model.run(model.signatures["serving_default"], inputs, ["y"])


def refusal(servable: Echo) -> str:
    with pytest.raises(ServingError) as caught:
        run(servable)
    return str(caught.value)


def test_it_runs_and_shows_its_signatures() -> None:
    model = PluginModel("echo", Echo())
    assert [value.tolist() for value in run(Echo())] == [[0, 1]]
    shown = model.signature_defs["serving_default"]
    assert shown.inputs["x"].dtype == DType.STRING  # type: ignore[attr-defined]
    assert shown.inputs["x"].tensor_shape.unknown_rank  # type: ignore[attr-defined]
    assert [dim.size for dim in shown.outputs["y"].tensor_shape.dim] == [-1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (PluginError("no such key", Code.NOT_FOUND), "NOT_FOUND: no such key"),
        (TimeoutError(), "DEADLINE_EXCEEDED: "),
        (KeyError("x"), "INTERNAL: Plug-in echo failed: KeyError: 'x'"),
        ({"z": 1}, "INTERNAL: Plug-in echo did not return output y of signature serving_default"),
        ([1], "INTERNAL: Plug-in echo did not return output y of signature serving_default"),
        ({"y": [1]}, "INTERNAL: Plug-in echo returned list for output y"),
        ({"y": np.zeros(2, np.float32)}, "INTERNAL: Plug-in echo returned an array of float32"),
        ({"y": np.zeros((1, 2), np.int64)}, "INTERNAL: Plug-in echo returned shape [1, 2]"),
    ],
)
def test_what_is_wrong_is_one_sentence(answer: Any, said: str) -> None:
    assert refusal(Echo(answer)).startswith(said)


@pytest.mark.parametrize("dtype", ["text", "U8", "object", "datetime64"])
def test_a_type_that_no_request_can_have_fails_the_load(dtype: str) -> None:
    with pytest.raises(ServingError, match="Plug-in echo has unusable signatures"):
        PluginModel("echo", Echo(dtype=dtype))


def test_a_load_that_fails_says_which_plug_in_and_directory() -> None:
    def fails(_model: str, _version: int, _path: Path) -> Echo:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(ServingError) as caught:
        PluginLoader("echo", fails).load("m", 1, "/m/1")
    assert str(caught.value) == (
        "FAILED_PRECONDITION: Plug-in echo failed to load /m/1: ZeroDivisionError: division by zero"
    )
    assert not caught.value.transient


def test_an_unload_closes_the_servable() -> None:
    servable = Echo()
    loader = PluginLoader("echo", lambda _model, _version, _path: servable)
    loader.unload(loader.load("m", 1, "/m/1"))
    assert servable.closed
