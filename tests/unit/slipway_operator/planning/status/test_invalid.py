"""A Model that the API server let through although the operator cannot use it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.resource import InvalidModel, InvalidModelError, invalid, parse
from slipway_operator.model.actions import Plan
from slipway_operator.planning.plan import plan
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, listed, model, observed

SETTINGS = RenderSettings("server:1", "sync:1")
LATER = T0 + timedelta(minutes=1)


def refused(spec: dict[str, Any], status: dict[str, Any]) -> InvalidModel:
    body = {
        "metadata": {"namespace": "ml", "name": "digits", "uid": "u", "generation": 2},
        "spec": spec,
        "status": status,
    }
    with pytest.raises(InvalidModelError) as error:
        parse(body)
    return invalid(body, str(error.value))


def planned(of: InvalidModel) -> Plan:
    return plan(of, SETTINGS, LATER)


def served() -> dict[str, Any]:
    """The status of a Model that was fine until now."""
    return plan(observed(model(), source=listed(3)), SETTINGS, T0).status.as_manifest()


def test_it_is_said_and_all_else_stays_as_it_was() -> None:
    before = served()
    made = planned(refused({"source": {"uri": "nowhere"}}, before))
    assert (made.actions, made.events, made.requeue) == ((), (), None)
    after = made.status
    assert after.phase == "InvalidSpec"
    assert "uri must be s3://" in after.message
    [degraded] = [c for c in after.conditions if c.type is ConditionType.DEGRADED]
    assert (degraded.status, degraded.reason) == ("True", Reason.INVALID_SPEC)
    assert (degraded.observed_generation, degraded.last_transition_time) == (
        2,
        "2026-03-01T12:01:00Z",
    )
    assert {c.type for c in after.conditions} == set(ConditionType) - {
        ConditionType.ROUTES_ACCEPTED
    }
    unchanged = after.as_manifest() | {k: before[k] for k in ("phase", "message", "conditions")}
    assert unchanged == before


def test_it_is_said_once() -> None:
    first = planned(refused({}, served())).status
    again = replace(refused({}, {}), status=first)
    assert plan(again, SETTINGS, LATER + timedelta(hours=1)).status == first


def test_a_status_that_cannot_be_read_is_replaced() -> None:
    assert planned(refused({}, {"versions": 7})).status.phase == "InvalidSpec"
