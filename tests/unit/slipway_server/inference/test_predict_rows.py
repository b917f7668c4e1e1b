"""Predict checks the rows of every answer, whatever format the model has (§7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from slipway_server.core.serving_map import Handle, Servable
from slipway_server.errors import ServingError
from slipway_server.inference.predictor import Predictor
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec


class Detector:
    """Made for one image; returns the boxes of all that it gets as those of one."""

    example_signatures: Mapping[str, Signature] = {}
    signatures: Mapping[str, Signature] = {
        "serving_default": Signature(
            "serving_default",
            "",
            {"image": TensorSpec("image:0", DType.FLOAT, (1, 4))},
            {
                "boxes": TensorSpec("boxes:0", DType.FLOAT, (1, -1)),
                "count": TensorSpec("count:0", DType.FLOAT, ()),
            },
        )
    }

    def run(
        self,
        _signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        _deadline: float | None = None,
    ) -> list[Array]:
        image = inputs["image"]
        values = {"boxes": image.reshape(1, -1), "count": np.array(image.size)}
        return [values[alias] for alias in outputs]


class Serving:
    def open(self, _selector: Any) -> Any:
        raise NotImplementedError


def predict(rows: int, *outputs: str) -> Mapping[str, Array]:
    servable: Any = Servable("m", 7, Detector())
    servable.acquire()
    images = np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)
    with Handle(servable) as handle:
        return Predictor(Serving()).predict(handle, "", {"image": images}, outputs).outputs


def test_the_declared_rows_are_answered() -> None:
    assert predict(1)["boxes"].tolist() == [[0, 1, 2, 3]]


def test_rows_that_were_mixed_are_no_answer() -> None:
    with pytest.raises(ServingError, match='2 were sent, and it returned 1 of output "boxes"'):
        predict(2)
    assert predict(2, "count") == {"count": 8}
