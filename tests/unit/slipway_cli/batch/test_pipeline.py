"""Rows to a model and back: in order, each once, no faster than the server and no further ahead than told."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from slipway_cli.batch.pipeline import Asker, Pace, Throttle, in_order, requests
from slipway_cli.batch.records import Row
from slipway_cli.errors import CliError, RequestError, UnavailableError

PACE = Pace()


def row(number: int, instance: Any = None, *, error: str = "", size: int = 1) -> Row:
    return Row(
        number, f"f, line {number}", number if instance is None else instance, size, number, error
    )


def asker(predict: Any, pace: Pace = PACE, *, patience_spent: bool = False) -> Asker:
    times = iter([0.0, 1e9]) if patience_spent else None
    return Asker(predict, pace, lambda: next(times) if times else 0.0)


def doubled(instances: Sequence[Any]) -> list[Any]:
    return [2 * one for one in instances]


def test_answers_come_in_the_order_of_their_rows_whoever_is_first() -> None:
    """The first request waits for the second one's answer."""
    second_done = threading.Event()

    def predict(instances: Sequence[Any]) -> list[Any]:
        if instances[0] == 1:
            assert second_done.wait(60)
        elif instances[0] == 3:
            second_done.set()
        return doubled(instances)

    pace = Pace(rows=2, requests=2)
    found = list(in_order(map(row, range(1, 6)), asker(predict, pace), pace))
    assert [one.record["prediction"] for outcomes, _ in found for one in outcomes] == [
        2,
        4,
        6,
        8,
        10,
    ]
    assert [position for _, position in found] == [2, 4, 5]


def test_no_more_is_read_than_is_asked_for_and_some() -> None:
    held = threading.Event()
    read = 0

    def rows() -> Iterator[Row]:
        nonlocal read
        for number in range(1, 10_001):
            read = number
            yield row(number)

    def predict(instances: Sequence[Any]) -> list[Any]:
        assert held.wait(60)
        return doubled(instances)

    pace = Pace(rows=10, requests=2)
    found = in_order(rows(), asker(predict, pace), pace)
    first = threading.Thread(target=lambda: next(found))
    first.start()
    held.set()
    first.join(60)
    assert read <= 10 * (2 * 4 + 2)
    assert sum(len(outcomes) for outcomes, _ in found) == 10_000 - 10


def test_the_row_that_is_to_blame_gets_the_error_and_no_other() -> None:
    asked = []

    def predict(instances: Sequence[Any]) -> list[Any]:
        asked.append(list(instances))
        if 5 in instances:
            raise RequestError("5 is wrong")
        return doubled(instances)

    outcomes = asker(predict).ask([*map(row, range(1, 9)), row(9, error="no JSON")])
    assert [one.number for one in outcomes] == list(range(1, 10))
    assert [one.number for one in outcomes if one.failed] == [5, 9]
    assert outcomes[4].record == {"row": 5, "source": "f, line 5", "error": "5 is wrong"}
    assert outcomes[8].record["error"] == "no JSON"
    assert len(asked) == 7, "halves, not one by one"


def test_a_request_that_nobody_answers_is_repeated_until_patience_ends() -> None:
    tries = 0

    def busy_twice(instances: Sequence[Any]) -> list[Any]:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise UnavailableError("busy")
        return doubled(instances)

    one = Asker(busy_twice, Pace(patience=10.0), lambda: 0.0)
    one.stopped.wait = lambda _timeout=None: False  # type: ignore[method-assign,assignment]
    assert one.ask([row(1)])[0].record["prediction"] == 2
    assert tries == 3

    def never(_instances: Sequence[Any]) -> list[Any]:
        raise UnavailableError("down")

    with pytest.raises(UnavailableError, match="down"):
        asker(never, patience_spent=True).ask([row(1)])


def test_what_concerns_every_row_ends_the_batch_after_what_was_before() -> None:
    def predict(instances: Sequence[Any]) -> list[Any]:
        if 3 in instances:
            raise CliError("no such model any more")
        return doubled(instances)

    pace = Pace(rows=1, requests=1)
    found = in_order(map(row, range(1, 6)), asker(predict, pace), pace)
    assert [next(found)[0][0].number, next(found)[0][0].number] == [1, 2]
    with pytest.raises(CliError, match="no such model"):
        next(found)


def test_a_file_that_breaks_off_ends_the_batch_after_its_rows() -> None:
    def rows() -> Iterator[Row]:
        yield row(1)
        yield row(2)
        raise CliError("the file is truncated")

    pace = Pace(rows=1, requests=4)
    done = []
    with pytest.raises(CliError, match="truncated"):
        done.extend(
            o.number for outcomes, _ in in_order(rows(), asker(doubled), pace) for o in outcomes
        )


def test_requests_have_so_many_rows_and_so_many_bytes() -> None:
    big = 3 << 20
    sizes = [[one.number for one in some] for some in requests(map(row, range(1, 6)), 2)]
    assert sizes == [[1, 2], [3, 4], [5]]
    large = [row(1, size=big), row(2, size=big), row(3, size=1), row(4, size=9 << 20)]
    assert [[one.number for one in some] for some in requests(large, 100)] == [[1], [2, 3], [4]]


def test_the_throttle_halves_and_recovers() -> None:
    throttle = Throttle(8)
    for room in (4, 2, 1, 1):
        with pytest.raises(UnavailableError), throttle:
            raise UnavailableError("full")
        assert throttle.room == room
    for _ in range(40):
        with throttle:
            pass
    assert throttle.room == 8
