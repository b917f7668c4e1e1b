"""Which directory names are versions."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_sync.exports import VersionDirectory, version_directories


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1),
        ("00000003", 3),
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("0" * 200 + "7", 7),
    ],
)
def test_a_decimal_int64_is_a_version(name: str, number: int) -> None:
    assert version_directories([name]) == ((VersionDirectory(number, name),), ())


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1a",
        "0x1",
        "1.0",
        "1_0",
        "٣",
        "9223372036854775808",
        "9" * 5000,
        "temp-1",
        ".slipway-1",
        "1-tmp",
        "one",
    ],
)
def test_anything_else_is_ignored(name: str) -> None:
    assert version_directories([name]) == ((), ())


def test_numbers_sort_as_numbers() -> None:
    directories, _ = version_directories(["10", "9", "0008"])
    assert [item.number for item in directories] == [8, 9, 10]


def test_of_two_spellings_one_is_taken_in_any_order_and_both_are_named() -> None:
    for names in itertools.permutations(["003", "3", "03"]):
        directories, warnings = version_directories(names)
        assert directories == (VersionDirectory(3, "3"),)
        assert len(warnings) == 2
        assert "'03'" in warnings[0]
        assert "'003'" in warnings[1]


@given(st.lists(st.text(max_size=8)))
def test_any_names_give_sorted_distinct_numbers(names: list[str]) -> None:
    directories, _ = version_directories(names)
    numbers = [item.number for item in directories]
    assert numbers == sorted(set(numbers))
    assert all(item.name in names and int(item.name) == item.number for item in directories)
