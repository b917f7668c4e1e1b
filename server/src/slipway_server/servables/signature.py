"""What a model promises: named signatures with typed inputs and outputs. Pure data, no TensorFlow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slipway_server.servables.dtypes import DType

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Attributes:
        tensor: its name in the graph, `node:0`; empty when it is not a plain tensor (sparse, composite).
        shape: sizes by dimension, -1 where any size goes; None when even the rank is open.
    """

    tensor: str
    dtype: DType
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """One way to call a model.

    Attributes:
        inputs: alias → tensor, in the order of the aliases.
        outputs: alias → tensor, in the order of the aliases.
        defaults: alias → value of an input that a request may leave out.
        stateful: whether a run changes what later runs see.
        rows: the rows that a request is declared to have, the first dimension of all inputs; 0 when any number goes.
    """

    key: str
    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    defaults: Mapping[str, Array] = field(default_factory=dict)
    stateful: bool = False
    rows: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out `rows` once, since every request asks for it."""
        object.__setattr__(self, "rows", _declared_rows(self.inputs.values()))


def _declared_rows(inputs: Iterable[TensorSpec]) -> int:
    """Return the first dimension that all inputs have which have any; 0 when it is open or not the same."""
    found: set[int] = set()
    for spec in inputs:
        if spec.shape is None:
            return 0
        found.update(spec.shape[:1])
    return max(found.pop(), 0) if len(found) == 1 else 0
