"""What the API server refused, and for how long that is remembered."""

from dataclasses import replace
from datetime import timedelta

import pytest

from slipway_operator.cluster.client import ClusterError
from slipway_operator.model import actions
from slipway_operator.model.observed import Preflights
from slipway_operator.reconcile.refusals import Refusals
from snapshots import T0, model, observed


def test_a_refusal_is_told_tried_again_and_at_last_forgotten() -> None:
    now = T0
    refusals = Refusals(lambda: now)
    first = observed(model())
    other = observed(replace(model(), uid="another"))
    grow = actions.GrowClaim("digits-cache", "uid-c", 7)
    no = ClusterError("exceeded quota", 403)
    assert refusals.take(first, grow, no)
    assert not refusals.take(other, grow, ClusterError("it does not answer"))
    told = refusals.add(first).refusal
    assert told is not None
    assert (told.size, told.message, told.retry) == (7, "exceeded quota", False)
    now += timedelta(minutes=1)
    again = refusals.add(first).refusal
    assert again is not None
    assert again.retry
    now += timedelta(hours=1)
    assert refusals.take(other, grow, no)
    assert refusals.add(first).refusal is None, "its Model is gone, or asks for nothing more"
    assert refusals.add(other).refusal is not None
    refusals.succeeded(other, grow)
    assert refusals.add(other).refusal is None


@pytest.mark.parametrize("status", [403, 409])
def test_a_refused_job_is_told_for_a_minute_and_then_tried_again(status: int) -> None:
    now = T0
    refusals = Refusals(lambda: now)
    first = replace(observed(model()), preflights=Preflights())
    create = actions.CreateJob({"metadata": {"name": "digits-preflight-1"}})
    assert not refusals.take(first, create, ClusterError("it does not answer"))
    assert refusals.take(first, create, ClusterError("exceeded quota", status))
    told = refusals.add(first).preflights
    assert told is not None
    assert told.refused == "exceeded quota"
    now += timedelta(minutes=1)
    assert refusals.add(first).preflights == Preflights()
    refusals.succeeded(first, create)
    now -= timedelta(minutes=1)
    assert refusals.add(first).preflights == Preflights()
