"""§6: which labels may be set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_server.core.labels import LabelRule, check_labels
from slipway_server.errors import ServingError

AVAILABLE = {("m", 1), ("m", 2)}
PRESENT = {"m": {"stable": 1}}
STRICT = LabelRule(strict=True)
NEW_MAY_WAIT = LabelRule(strict=True, new_may_wait=True)


def _refused(wanted: dict[str, dict[str, int]], rule: LabelRule) -> str:
    try:
        check_labels(wanted, PRESENT, lambda *one: one in AVAILABLE, rule)
    except ServingError as error:
        return str(error)
    return ""


def _unavailable(version: int, model: str = "m") -> str:
    return (
        f"FAILED_PRECONDITION: Request to assign label to version {version} of model {model}, "
        "which is not currently available for inference"
    )


@pytest.mark.parametrize(
    ("labels", "rule", "refused"),
    [
        pytest.param({"stable": 9}, LabelRule(), "", id="by default a label is a wish"),
        pytest.param({"stable": 2, "canary": 2}, STRICT, "", id="strict: available versions"),
        pytest.param({"canary": 9}, STRICT, _unavailable(9), id="strict: a new label"),
        pytest.param({"stable": 9}, STRICT, _unavailable(9), id="strict: a label in use"),
        pytest.param({"canary": 9}, NEW_MAY_WAIT, "", id="a new label may wait"),
        pytest.param({"stable": 9}, NEW_MAY_WAIT, _unavailable(9), id="a label in use may not"),
        pytest.param(
            {"stable": 9},
            LabelRule(strict=True, all_may_wait=True),
            "",
            id="unless the hidden option lifts that",
        ),
        pytest.param(
            {"stable": 1},
            LabelRule(allowed=False),
            "FAILED_PRECONDITION: Model version labels are not currently allowed by the server.",
            id="no labels at all",
        ),
        pytest.param({}, LabelRule(allowed=False), "", id="no labels, none asked for"),
    ],
)
def test_rules(labels: dict[str, int], rule: LabelRule, refused: str) -> None:
    assert _refused({"m": labels}, rule) == refused


def test_a_label_that_does_not_move_may_stay_on_a_version_that_has_gone() -> None:
    present = {"m": {"old": 7}}
    check_labels(present, present, lambda *_: False, NEW_MAY_WAIT)
    with pytest.raises(ServingError, match="version 7 of model m"):
        check_labels(present, present, lambda *_: False, STRICT)


labels = st.dictionaries(
    st.sampled_from("ab"), st.dictionaries(st.sampled_from("xyz"), st.integers(1, 3))
)


@given(labels, labels, st.sets(st.tuples(st.sampled_from("ab"), st.integers(1, 3))))
def test_the_strict_rule_lets_pass_exactly_what_is_available(
    wanted: dict[str, dict[str, int]],
    present: dict[str, dict[str, int]],
    available: set[tuple[str, int]],
) -> None:
    named = {(model, version) for model, of in wanted.items() for version in of.values()}
    try:
        check_labels(wanted, present, lambda *one: one in available, STRICT)
    except ServingError:
        assert not named <= available
    else:
        assert named <= available
