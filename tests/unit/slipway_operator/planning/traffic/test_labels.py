"""T10: a version label is a Service, moved only when all replicas of its version are ready."""

from typing import Any

import pytest

from slipway_operator.model.actions import Apply, Delete
from slipway_operator.model.observed import Child
from slipway_operator.planning.plan import plan
from slipway_operator.rendering.services import label_service
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, deployment, listed, model, observed, pods, service

BOTH = model(versions={"latest": 2}, labels={"stable": 2})
V1, V2 = deployment(BOTH, 1), deployment(BOTH, 2)


def points_to(version: int) -> dict[str, Child]:
    manifest = label_service(BOTH, "stable", version)
    return {"digits-stable": Child("digits-stable", "uid-stable", manifest)}


def written(ready: int, services: dict[str, Child], **spec: Any) -> list[int]:
    """Versions to which the label is moved in one step, with so many ready pods of version 2."""
    of = model(**({"versions": {"latest": 2}, "labels": {"stable": 2}} | spec))
    world = observed(
        of,
        source=listed(1, 2),
        deployments=(V1, V2),
        pods=(*pods(V1), *pods(V2, ready), *pods(V2, 2 - ready, first=ready, ready=False)),
        services=service(of, V2.servable) | services,
    )
    steps = plan(world, RenderSettings("server:1", "sync:1"), T0).actions
    return [
        int(step.manifest["spec"]["selector"]["slipway.dev/version"])
        for step in steps
        if isinstance(step, Apply) and (step.kind, step.name) == ("Service", "digits-stable")
    ]


@pytest.mark.parametrize(
    ("ready", "before", "expected"),
    [
        (2, {}, [2]),
        (1, {}, []),  # not even made before all are ready
        (2, points_to(1), [2]),
        (1, points_to(1), []),  # it points where it pointed
        (0, points_to(1), []),
        (2, points_to(2), []),
        (1, points_to(2), []),  # a lost pod does not move it back
    ],
)
def test_a_label_moves_when_all_replicas_are_ready(
    ready: int, before: dict[str, Child], expected: list[int]
) -> None:
    assert written(ready, before) == expected


def test_a_label_that_the_spec_no_longer_has_goes() -> None:
    of = model(versions={"latest": 2})
    world = observed(
        of,
        source=listed(1, 2),
        deployments=(V1, V2),
        pods=(*pods(V1), *pods(V2)),
        services=service(of, V2.servable) | points_to(2),
    )
    steps = plan(world, RenderSettings("server:1", "sync:1"), T0).actions
    assert Delete("Service", "digits-stable", "uid-stable") in steps
