from typing import Any

import pytest

from slipway_operator.planning.drift import matches


@pytest.mark.parametrize(
    ("actual", "wanted", "covered"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),  # the API server adds fields
        ({"a": 1}, {"a": 2}, False),
        ({"b": 1}, {"a": None}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),  # a list is whole
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True),
        ({"a": [1]}, {"a": []}, False),
        ({"a": None}, {"a": {"b": 1}}, False),
        (["a"], ("a",), True),
        ("1", 1, False),
    ],
)
def test_a_manifest_is_covered(actual: Any, wanted: Any, covered: bool) -> None:  # noqa: FBT001
    assert matches(actual, wanted) is covered
