"""Rows of a request to a model that was made for a fixed number of them. Pure.

Neither TensorFlow nor TensorFlow Lite checks the first dimension of what is fed. A graph that reshapes to `[1, …]`
takes two images, and returns one row with parts of both.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from slipway_server.errors import ServingError, invalid_argument
from slipway_server.servables.signature import Array, Signature


def other_rows(signature: Signature, inputs: Mapping[str, Array]) -> int:
    """Return how many rows a request has when these are not as many as its signature declares; 0 when all is well."""
    if not signature.rows:
        return 0
    sent = max((len(value) for _, value in _with_rows(signature, inputs)), default=0)
    return sent if sent != signature.rows else 0


def check_followed(signature: Signature, sent: int, outputs: Mapping[str, Array]) -> None:
    """Refuse an answer whose rows are not those of a request that has other rows than its signature declares.

    Args:
        signature: declares the rows; an output that is declared with another first dimension has no rows.
        sent: rows of the request.
        outputs: value by alias.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    for alias, value in outputs.items():
        shape = signature.outputs[alias].shape
        if shape and shape[0] == signature.rows and value.shape[:1] != (sent,):
            found = f'{value.shape[0] if value.ndim else 0} of output "{alias}"'
            raise _refused(signature, sent, f"returned {found} for them")


def single_rows(
    signature: Signature, inputs: Mapping[str, Array]
) -> Iterator[dict[str, Array]] | None:
    """Return the requests of one row each that a request to a model for one row is made of.

    None when it is not made of such: the model takes any number, one row was sent, or not the same of every input.
    """
    if signature.rows != 1 or (sent := other_rows(signature, inputs)) < 2:  # noqa: PLR2004 - several
        return None
    split = dict(_with_rows(signature, inputs))
    for alias, value in split.items():
        if len(value) != sent or value.ndim != len(signature.inputs[alias].shape or ()):
            return None
    return (
        {**inputs, **{alias: value[row : row + 1] for alias, value in split.items()}}
        for row in range(sent)
    )


def joined(
    signature: Signature, aliases: Sequence[str], answers: Sequence[Sequence[Array]]
) -> list[Array]:
    """Return one answer made of those of single rows.

    Args:
        signature: that was run.
        aliases: of the outputs, in their order.
        answers: for each row, one array for each of `aliases`.

    Raises:
        ServingError: INVALID_ARGUMENT when an output has not one row for each.
    """
    whole: list[Array] = []
    for alias, values in zip(aliases, zip(*answers, strict=True), strict=True):
        shapes = {value.shape for value in values}
        if len(shapes) != 1 or values[0].shape[:1] != (1,):
            raise _refused(
                signature,
                len(answers),
                f'returned output "{alias}" with the shape '
                + " or ".join(str(list(shape)) for shape in sorted(shapes)[:2])
                + " for a single one",
            )
        whole.append(np.concatenate(values))
    return whole


def _with_rows(signature: Signature, inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    for alias, value in inputs.items():
        if value.ndim and signature.inputs[alias].shape:
            yield alias, value


def _refused(signature: Signature, sent: int, what: str) -> ServingError:
    made_for = "1 row" if signature.rows == 1 else f"{signature.rows} rows"
    return invalid_argument(
        f'The model takes {made_for} in a request with signature "{signature.key}", but {sent} were sent, and it '
        f"{what}: send {made_for} in each request"
    )
