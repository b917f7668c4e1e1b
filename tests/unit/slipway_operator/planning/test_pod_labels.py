"""A Service of others whose selector finds the pods by labels that the spec adds to them."""

from datetime import timedelta

import pytest

from fleet import Fleet
from histories import History
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.status import VersionState
from slipway_operator.planning.plan import plan


def degraded(fleet: Fleet) -> tuple[str, str, str]:
    [found] = [c for c in fleet.status.conditions if c.type is ConditionType.DEGRADED]
    return found.status, found.reason, found.message


def test_nothing_is_started_and_the_service_is_named() -> None:
    fleet = Fleet(selected_by=frozenset({"shop"}))
    fleet.upload(1)
    world = History(fleet)
    assert not fleet.deployments, world.describe()
    assert fleet.status.phase == Reason.POD_LABELS_CONFLICT
    status, reason, message = degraded(fleet)
    assert (status, reason) == ("True", Reason.POD_LABELS_CONFLICT)
    assert message == (
        "the selector of Service shop matches labels of spec.serving.podLabels, so that requests to it would "
        "reach this Model: no new version is started; change podLabels or, if this is intended, add "
        "slipway.dev/model: digits to the selector"
    )
    assert fleet.status.message == message
    [row] = fleet.status.versions
    assert (row.state, row.reason) == (VersionState.UNSCHEDULABLE, Reason.POD_LABELS_CONFLICT)
    requeue = plan(fleet.observe(), fleet.settings, fleet.now).requeue
    assert requeue is not None
    assert requeue <= timedelta(seconds=10)
    fleet.selected_by = frozenset()
    world.come_to_rest()
    assert (fleet.status.serving, fleet.status.phase) == ("1", "Available"), world.describe()
    assert degraded(fleet)[0] == "False"


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
def test_what_runs_goes_on_and_no_other_version_is_started(policy: str) -> None:
    fleet = Fleet()
    fleet.upload(1)
    fleet.edit(transition={"policy": policy}, serving={"replicas": 2})
    world = History(fleet, calm=True)
    running = {name: (found.uid, found.replicas) for name, found in fleet.deployments.items()}
    fleet.selected_by = frozenset({"shop", "bank"})
    fleet.upload(2)
    world.come_to_rest()
    assert {n: (d.uid, d.replicas) for n, d in fleet.deployments.items()} == running
    assert (fleet.status.serving, len(fleet.in_rotation())) == ("1", 2), world.describe()
    assert degraded(fleet)[2].startswith("the selectors of Services bank, shop match labels of ")
    fleet.edit(serving={"replicas": 2, "podLabels": {"app": "digits"}})
    fleet.selected_by = frozenset()
    world.come_to_rest()
    assert (fleet.status.serving, len(fleet.in_rotation())) == ("2", 2), world.describe()


def test_a_conflict_stops_no_pods_of_a_version_that_has_them() -> None:
    fleet = Fleet()
    fleet.upload(1)
    world = History(fleet)
    fleet.selected_by = frozenset({"shop"})
    fleet.edit(serving={"replicas": 3})
    world.come_to_rest()
    assert len(fleet.in_rotation()) == 3, world.describe()
    assert fleet.status.phase == "Available"
    assert degraded(fleet)[1] == Reason.POD_LABELS_CONFLICT
