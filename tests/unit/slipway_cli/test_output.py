"""What is printed."""

import json

from hypothesis import given
from hypothesis import strategies as st

from slipway_cli.output import as_json, columns, outputs_table, plain, predictions_table, short

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_json_is_json_however_it_is_laid_out(value: object) -> None:
    assert json.loads(as_json(value)) == json.loads(as_json(value, indent=0))


def test_half_a_surrogate_pair_can_be_printed() -> None:
    as_json({"x": "\ud800"}).encode()


def test_foreign_text_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[31m\nb\x9b") == "a\ufffd[31m b\ufffd"
    assert "\x1b" not in columns(["A"], [["\x1b[2J"]])


def test_a_table_of_predictions() -> None:
    assert predictions_table([1.5, [2]]).splitlines() == ["#   prediction", "1   1.5", "2   [2]"]
    table = predictions_table([{"a": 1, "b": "x"}, {"a": 2}])
    assert table.splitlines() == ["#   a   b", "1   1   x", "2   2"]
    assert predictions_table([{"b64": "eA=="}]).splitlines()[0] == "#   prediction"
    assert outputs_table({"y": [1]}).splitlines() == ["output   value", "y        [1]"]


def test_long_values_are_cut_and_counted() -> None:
    assert short(list(range(100))).endswith("100 values]")
    assert len(short("x" * 1000)) == 60
