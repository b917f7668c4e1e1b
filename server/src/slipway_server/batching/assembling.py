"""Many requests' tensors as one batch, and one batch's outputs as many answers. Pure, NumPy only."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from slipway_server.errors import Code, ServingError
from slipway_server.servables.signature import Array


def merged(
    parts: Sequence[Mapping[str, Array]], aliases: Iterable[str], surplus: int
) -> dict[str, Array]:
    """Return the inputs of a batch: the parts one after the other, then `surplus` times a row of the last part.

    Inner shapes that differ are brought to the largest size of each dimension, filled with each part's first element.
    That element and that row are known to be good values for the model.

    Args:
        parts: alias → value, in the same order as the answers are wanted.
        aliases: of the values to join.
        surplus: rows to add; 0 when all parts are empty.
    """
    return {alias: _joined([part[alias] for part in parts], surplus) for alias in aliases}


def _joined(values: list[Array], surplus: int) -> Array:
    if len(values) > 1 and any(value.shape[1:] != values[0].shape[1:] for value in values):
        inner = tuple(map(max, *(value.shape[1:] for value in values)))
        values = [_widened(value, inner) for value in values]
    if surplus:
        last = next(value for value in reversed(values) if len(value))
        values = [*values, np.broadcast_to(last[:1], (surplus, *last.shape[1:]))]
    return values[0] if len(values) == 1 else np.concatenate(values)


def _widened(value: Array, inner: tuple[int, ...]) -> Array:
    if value.shape[1:] == inner:
        return value
    fill = value.flat[0] if value.size else b"" if value.dtype == object else 0
    wide = np.empty((len(value), *inner), value.dtype)
    wide[...] = fill
    wide[(slice(None), *map(slice, value.shape[1:]))] = value
    return wide


def check_outputs(outputs: Sequence[Array], rows: int) -> None:
    """Refuse outputs that cannot be told apart by row.

    Raises:
        ServingError: FAILED_PRECONDITION.
    """
    for output in outputs:
        if output.ndim == 0:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(output) != rows:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                "input tensors",
            )
