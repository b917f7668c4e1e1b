"""What is there without our labels is found before a plan would write over it, or would fail to."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from slipway_operator.api.resource import parse
from slipway_operator.cluster.client import (
    DEPLOYMENTS,
    MODELS,
    ConflictError,
    NotFoundError,
    Resource,
)
from slipway_operator.model.source import SourceObservation
from slipway_operator.reconcile.reconciler import Reconciler
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.rendering.inputs import servable
from slipway_operator.rendering.settings import RenderSettings
from snapshots import listed

KEY = Key("ml", "digits", "u")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Api:
    """An API server on which objects of others, without any label, bear names that are wanted."""

    def __init__(self, versions: dict[str, Any]) -> None:
        self.taken: set[str] = set()
        self.created: list[str] = []
        self.status: dict[str, Any] = {}
        self._spec = {
            "source": {"uri": "s3://models/digits"},
            "versions": versions,
            "serving": {"replicas": 1},
        }

    async def get(self, resource: Resource, _: str, name: str) -> dict[str, Any]:
        if resource == MODELS:
            metadata = {"namespace": "ml", "name": "digits", "uid": "u", "resourceVersion": "1"}
            return {"metadata": metadata, "spec": self._spec}
        if resource == DEPLOYMENTS and name in self.taken:
            return {"metadata": {"name": name, "uid": "x"}}
        raise NotFoundError("there is none")

    async def list(self, *_: object) -> list[dict[str, Any]]:
        return []

    async def merge(self, *arguments: Any) -> None:
        self.status = arguments[3]["status"]

    async def create(self, resource: Resource, _: str, body: dict[str, Any]) -> None:
        name = body["metadata"]["name"]
        if resource == DEPLOYMENTS and name in self.taken:
            raise ConflictError(f"{name} exists", 409)
        if resource == DEPLOYMENTS:
            self.created.append(name)


class Sources:
    """A store with these versions."""

    def __init__(self, source: SourceObservation) -> None:
        self._source = source

    def observation(self, *_: object) -> SourceObservation:
        return self._source


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
def test_what_a_plan_does_instead_is_looked_for_as_well(count: int) -> None:
    versions = range(1, 7)
    api = Api({"latest": len(versions)})
    client, source = cast("Any", api), listed(*versions)
    model = parse(asyncio.run(api.get(MODELS, "ml", "digits")))
    wanted = [
        f"digits-{servable(model, v.number, v.directory, v.revision).id}"
        for v in sorted(source.versions, key=lambda version: -version.number)
    ]
    api.taken = set(wanted[:count])
    settings = RenderSettings("server", "sync")
    sources = cast("Any", Sources(source))
    reconciler = Reconciler(client, sources, settings, "me", lambda: NOW)
    asyncio.run(reconciler.reconcile(KEY))
    assert api.created == wanted[count : count + 1]
    [degraded] = [c for c in api.status["conditions"] if c["type"] == "Degraded"]
    assert all(f"Deployment/{name}" in degraded["message"] for name in api.taken)
