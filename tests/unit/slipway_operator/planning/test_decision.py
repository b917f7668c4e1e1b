"""What is decided before any action follows: what others report is taken up first."""

from dataclasses import replace

import pytest

from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.status import RetentionStatus
from slipway_operator.model.retention import RetentionReport
from slipway_operator.planning.decision import decide
from slipway_operator.planning.plan import plan
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, listed, model, observed

SETTINGS = RenderSettings("server:1", "sync:1")
SAID = RetentionStatus(key="k", message="retention: version 1 would be deleted")
DENIED = RetentionStatus(
    key="k",
    reason=Reason.RETENTION_DENIED,
    message="retention: not allowed",
    since="2026-03-01T12:00:00Z",
)
STATE = observed(model(retention={"keep": 1}), source=listed(1, 2))


@pytest.mark.parametrize("said", [SAID, DENIED, None])
def test_the_status_says_what_retention_reports(said: RetentionStatus | None) -> None:
    reported = replace(STATE, retention=RetentionReport(said))
    assert plan(reported, SETTINGS, T0).status.retention == said
    assert decide(reported, SETTINGS, T0).observed.model.status.retention == said


def test_without_a_report_the_status_says_what_it_said() -> None:
    status = STATE.model.status.model_copy(update={"retention": SAID})
    known = replace(STATE, model=replace(STATE.model, status=status))
    assert plan(known, SETTINGS, T0).status.retention == SAID
    forgotten = replace(known, retention=RetentionReport(None))
    assert plan(forgotten, SETTINGS, T0).status.retention is None


def test_a_failure_of_retention_degrades_the_model_in_the_same_plan() -> None:
    status = plan(replace(STATE, retention=RetentionReport(DENIED)), SETTINGS, T0).status
    [degraded] = [c for c in status.conditions if c.type is ConditionType.DEGRADED]
    assert (degraded.status, degraded.reason) == ("True", Reason.RETENTION_DENIED)
    assert status.message == DENIED.message
