"""Rows of requests to models for a fixed number of them: what is split, and which answers are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slipway_server.errors import Code, ServingError
from slipway_server.servables.dtypes import DType
from slipway_server.servables.rows import check_followed, joined, other_rows, single_rows
from slipway_server.servables.signature import Signature, TensorSpec

Shape = tuple[int, ...] | None


def signature(inputs: dict[str, Shape], outputs: dict[str, Shape] | None = None) -> Signature:
    return Signature(
        "s",
        "",
        {alias: TensorSpec(f"{alias}:0", DType.FLOAT, shape) for alias, shape in inputs.items()},
        {
            alias: TensorSpec(f"{alias}:0", DType.FLOAT, shape)
            for alias, shape in (outputs or {}).items()
        },
    )


@pytest.mark.parametrize(
    ("inputs", "rows"),
    [
        ({"a": (1, 3)}, 1),
        ({"a": (1, 3), "b": (1,)}, 1),
        ({"a": (1, 3), "threshold": ()}, 1),
        ({"a": (32, 3)}, 32),
        ({"a": (-1, 3)}, 0),
        ({"a": (1, 3), "b": (-1,)}, 0),
        ({"a": (1, 3), "b": (2, 3)}, 0),
        ({"a": (1, 3), "b": None}, 0),
        ({"a": ()}, 0),
        ({"a": (0, 3)}, 0),
        ({}, 0),
    ],
)
def test_the_rows_that_a_signature_declares(inputs: dict[str, Shape], rows: int) -> None:
    assert signature(inputs).rows == rows


def arrays(**shapes: Any) -> dict[str, Any]:
    return {
        alias: np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
        for alias, shape in shapes.items()
    }


ONE = {"a": (1, 3), "threshold": ()}


@pytest.mark.parametrize(
    ("inputs", "sent", "other"),
    [
        (ONE, arrays(a=(1, 3), threshold=()), 0),
        (ONE, arrays(a=(2, 3), threshold=()), 2),
        (ONE, arrays(a=(2, 3), threshold=(5,)), 2),
        (ONE, arrays(a=(0, 3)), 0),
        ({"a": (1, 3), "b": (1, 3)}, arrays(a=(1, 3), b=(4, 3)), 4),
        ({"a": (4, 3)}, arrays(a=(2, 3)), 2),
        ({"a": (-1, 3)}, arrays(a=(2, 3)), 0),
        ({"a": None}, arrays(a=(2, 3)), 0),
    ],
)
def test_the_rows_of_a_request(inputs: dict[str, Shape], sent: Any, other: int) -> None:
    assert other_rows(signature(inputs), sent) == other


def test_a_request_is_split_into_its_rows() -> None:
    sent = arrays(a=(2, 3), threshold=())
    first, second = single_rows(signature(ONE), sent) or ()
    assert first["a"].tolist() == [[0, 1, 2]]
    assert second["a"].tolist() == [[3, 4, 5]]
    assert first["threshold"] is second["threshold"] is sent["threshold"]


@pytest.mark.parametrize(
    ("inputs", "sent"),
    [
        (ONE, arrays(a=(1, 3), threshold=())),
        ({"a": (-1, 3)}, arrays(a=(2, 3))),
        ({"a": (2, 3)}, arrays(a=(4, 3))),
        ({"a": (1, 3)}, arrays(a=(6,))),
        ({"a": (1, 3), "b": (1, 3)}, arrays(a=(2, 3), b=(1, 3))),
    ],
    ids=["one row", "any number", "two rows", "another rank", "unlike"],
)
def test_what_is_not_split(inputs: dict[str, Shape], sent: Any) -> None:
    assert single_rows(signature(inputs), sent) is None


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(ServingError) as error:
        call(*arguments)
    assert error.value.code is Code.INVALID_ARGUMENT
    return error.value.message


def test_answers_of_rows_are_joined_by_row() -> None:
    answers = [[np.float32([[row, row]]), np.array([b"%d" % row], object)] for row in range(3)]
    first, second = joined(signature(ONE, {"y": (1, 2), "z": (1,)}), ("y", "z"), answers)
    assert first.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert second.tolist() == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (((), ()), "[]"),
        (((5,), (5,)), "[5]"),
        (((2, 3), (2, 3)), "[2, 3]"),
        (((1, 3), (1, 4)), "[1, 3] or [1, 4]"),
    ],
)
def test_what_has_not_one_row_for_each_is_not_joined(shapes: Any, said: str) -> None:
    answers = [[np.zeros(shape)] for shape in shapes]
    assert refusal(joined, signature(ONE, {"y": None}), ("y",), answers) == (
        'The model takes 1 row in a request with signature "s", but 2 were sent, and it returned output "y" with the '
        f"shape {said} for a single one: send 1 row in each request"
    )


@pytest.mark.parametrize(
    ("declared", "found", "right"),
    [
        ((4, 2), (2, 2), True),
        ((4, 2), (4, 2), False),
        ((4, 2), (1, 4), False),
        ((4,), (), False),
        ((), (), True),
        ((7,), (7,), True),
        ((-1, 2), (9, 2), True),
        (None, (9, 2), True),
    ],
)
def test_the_rows_of_an_answer_follow_those_of_the_request(
    declared: Shape,
    found: tuple[int, ...],
    right: bool,  # noqa: FBT001 - a case
) -> None:
    four = signature({"a": (4, 3)}, {"y": declared})
    if right:
        check_followed(four, 2, {"y": np.zeros(found)})
        return
    assert refusal(check_followed, four, 2, {"y": np.zeros(found)}) == (
        f'The model takes 4 rows in a request with signature "s", but 2 were sent, and it returned '
        f'{found[0] if found else 0} of output "y" for them: send 4 rows in each request'
    )
