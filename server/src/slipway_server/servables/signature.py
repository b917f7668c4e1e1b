"""What a model promises: named signatures with typed inputs and outputs. Pure data, no TensorFlow."""

from collections.abc import Mapping
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
    """

    key: str
    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    defaults: Mapping[str, Array] = field(default_factory=dict)
    stateful: bool = False
