from datetime import timedelta

import pytest

from slipway_operator.api.quantities import is_positive_count, parse_duration, resolve_count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200), ("0s", 0), ("1h1m1s1ms", 3661.001)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "replicas", "pods"),
    [
        (1, 5, 1),
        (3, 2, 3),
        ("25%", 4, 1),
        ("25%", 2, 1),  # rounded up
        ("50%", 3, 2),
        ("100%", 3, 3),
        ("1%", 1000, 10),
        ("100%", 0, 1),  # at least one, whatever there is
    ],
)
def test_a_count_may_be_a_share_of_the_replicas(value: int | str, replicas: int, pods: int) -> None:
    assert resolve_count(value, replicas) == pods


@pytest.mark.parametrize(
    ("value", "positive"),
    [(1, True), (0, False), (-1, False), ("1%", True), ("100%", True), ("0%", False),
     ("101%", False), ("01%", False), ("25", False), ("", False)],
)  # fmt: skip
def test_a_count_must_be_at_least_one(value: int | str, positive: bool) -> None:  # noqa: FBT001
    assert is_positive_count(value) is positive
