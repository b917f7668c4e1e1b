"""§3: which directories are versions, and which of them a policy chooses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_server.storage.versions import (
    All,
    Latest,
    Specific,
    VersionPolicy,
    select,
    version_number,
)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1),
        ("00000123", 123),
        ("0", 0),
        ("-3", -3),
        ("+3", 3),
        (" 7 ", 7),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("v1", None),
        ("1.5", None),
        ("1e3", None),
        ("", None),
        ("1_000", None),
        ("٣", None),
        ("tmp-3", None),
    ],
)
def test_what_counts_as_a_version(name: str, number: int | None) -> None:
    assert version_number(name) == number


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (Latest(), [10]),
        (Latest(0), [10]),
        (Latest(-1), [10]),
        (Latest(2), [3, 10]),
        (Latest(99), [1, 2, 3, 10]),
        (All(), [1, 2, 3, 10]),
        (Specific(frozenset({2, 10})), [2, 10]),
        (Specific(frozenset({2, 99})), [2]),
        (Specific(frozenset()), []),
    ],
)
def test_the_three_policies(policy: VersionPolicy, chosen: list[int]) -> None:
    selection = select("m", "/models/m", ["1", "2", "10", "3", "assets", ".tmp-11"], policy)
    assert list(selection.directories) == chosen


def test_directories_keep_their_own_spelling() -> None:
    assert select("m", "/b", ["00000003"], Latest()).directories == {3: "00000003"}


def test_two_spellings_of_one_number_warn_and_one_is_taken_whatever_the_order() -> None:
    for children in (["03", "3"], ["3", "03"]):
        selection = select("m", "/b", children, All())
        assert selection.directories == {3: "03"}
        assert selection.warnings == (
            "Duplicate version directories detected. Version 3 will be loaded from 03, 3 will be ignored.",
        )


def test_an_empty_base_path_is_explained() -> None:
    [warning] = select("m", "/b", ["x"], Latest()).warnings
    assert warning == (
        "No versions of servable m found under base path /b. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )


def test_a_missing_specific_version_is_named() -> None:
    [warning] = select("m", "/b", ["1"], Specific(frozenset({1, 7}))).warnings
    assert "Version 7 of servable m" in warning


@given(st.lists(st.text(max_size=6) | st.integers(-5, 99).map(str)), st.integers(0, 5))
def test_latest_is_the_tail_of_all(children: list[str], count: int) -> None:
    everything = list(select("m", "/b", children, All()).directories)
    assert (
        list(select("m", "/b", children, Latest(count)).directories) == everything[-max(count, 1) :]
    )
    assert everything == sorted(everything)
