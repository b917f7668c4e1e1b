"""Objects that bear a name of the Model's and belong to someone else, such as a Model `digits-next`."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fleet import Fleet
from histories import History
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.planning.plan import plan

AUXILIARY = ("digits-next", "digits-pods", "digits-v1", "digits-v2", "digits-stable")
POLICIES: dict[str, dict[str, Any]] = {
    "available": {"policy": "AvailabilityPreserving", "maxSurge": 1},
    "available, at once": {"policy": "AvailabilityPreserving", "maxSurge": "100%"},
    "resources": {"policy": "ResourcePreserving"},
}


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("transition", list(POLICIES.values()), ids=list(POLICIES))
@pytest.mark.parametrize("name", AUXILIARY)
def test_a_service_beside_the_main_one_stops_no_traffic(
    name: str, transition: dict[str, Any], replicas: int
) -> None:
    fleet = Fleet(foreign=frozenset({f"Service/{name}"}))
    fleet.upload(1)
    fleet.edit(transition=transition, serving={"replicas": replicas}, labels={"stable": 1})
    world = History(fleet, calm=True)
    assert fleet.status.serving == "1"
    fleet.upload(2)
    world.come_to_rest()
    assert (fleet.status.serving, len(fleet.in_rotation())) == ("2", replicas), world.describe()
    assert set(fleet.services) & set(AUXILIARY) == set(AUXILIARY[1:]) - {name, "digits-v1"} | (
        {"digits-stable"} - {name}
    )
    assert [d.name[:9] for d in fleet.deployments.values()] == ["digits-v2"]


@pytest.mark.parametrize("kind", ["Service", "Deployment", "PodDisruptionBudget"])
def test_a_conflict_is_looked_at_again_while_it_lasts(kind: str) -> None:
    fleet = Fleet()
    fleet.upload(1)
    History(fleet)
    at_rest = fleet.observe()
    assert plan(at_rest, fleet.settings, fleet.now).requeue is None
    lasting = plan(
        replace(at_rest, foreign=frozenset({f"{kind}/digits"})), fleet.settings, fleet.now
    )
    [degraded] = [c for c in lasting.status.conditions if c.type is ConditionType.DEGRADED]
    assert degraded.reason == Reason.NAME_CONFLICT
    assert lasting.requeue is not None
    assert lasting.requeue <= timedelta(seconds=10)
