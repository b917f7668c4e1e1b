"""Which pods hold which servables."""

from slipway_operator.planning.decision import Decision, decide
from slipway_operator.planning.workloads.placement import PLACEMENT
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, deployment, key, listed, model, observed

SETTINGS = RenderSettings("server:1", "sync:1")


def replacing() -> Decision:
    of = model()
    return decide(observed(of, source=listed(1, 2), deployments=(deployment(of, 1),)), SETTINGS, T0)


def test_every_servable_has_pods_of_its_own() -> None:
    decision = replacing()
    old = f"v1-{key(decision.observed.model, 1)}"
    new = f"v2-{key(decision.observed.model, 2)}"
    placed = PLACEMENT.workloads(decision, {new: 1, old: 2})
    assert [(w.name, w.replicas) for w in placed] == [(f"digits-{new}", 1), (f"digits-{old}", 2)]
    assert [[s.version for s in w.servables] for w in placed] == [[2], [1]]


def test_a_workload_is_created_with_the_replicas_that_it_may_have() -> None:
    decision = replacing()
    [servable] = decision.desired.servables
    [placed] = PLACEMENT.workloads(decision, {servable.id: 1})
    manifest = PLACEMENT.manifest(decision, placed)
    assert manifest["metadata"]["name"] == placed.name
    assert manifest["spec"]["replicas"] == 1
