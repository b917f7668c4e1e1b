from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_server.errors import ServingError
from slipway_server.frontends.codec.json_text import check_depth


def _depth(value: Any) -> int:
    match value:
        case list():
            return 1 + max(map(_depth, value), default=0)
        case dict():
            return 1 + max(map(_depth, value.values()), default=0)
        case _:
            return 0


def _refused(text: bytes, limit: int) -> bool:
    try:
        check_depth(text, limit)
    except ServingError as error:
        return f"nested too deeply: {limit} levels are allowed" in error.message
    return False


@given(
    st.recursive(
        st.text('a"\\[]{}'), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ),
    st.integers(0, 5),
)
def test_it_counts_as_a_parser_would(value: Any, limit: int) -> None:
    assert _refused(json.dumps(value).encode(), limit) == (_depth(value) > limit)


@pytest.mark.parametrize("text", [b"[" * 50_000, b'{"a":' * 50_000, b'"' + b"[" * 9 + b"[" * 9])
def test_what_is_no_json(text: bytes) -> None:
    assert _refused(text, 10) == (not text.startswith(b'"'))


def test_the_parsers_own_limit_costs_nothing() -> None:
    assert not _refused(b"[" * 50_000, 1024)
