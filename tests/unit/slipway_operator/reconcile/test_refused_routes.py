"""A route that cannot be written, or deleted, holds up nothing else of its Model."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from slipway_operator.api.names import ROUTE_KINDS
from slipway_operator.api.resource import parse
from slipway_operator.cluster.client import (
    DEPLOYMENTS,
    MODELS,
    ROUTES,
    SERVICES,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    NotLeadingError,
    Resource,
)
from slipway_operator.reconcile.reconciler import Reconciler
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.rendering.settings import RenderSettings
from snapshots import listed, service

KEY = Key("ml", "digits", "u")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNED = {"name": "digits", "uid": "r", "ownerReferences": [{"uid": "u"}]}
TOLD = {
    "type": "RoutesAccepted",
    "status": "True",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "reason": "RoutesAccepted",
    "message": "",
}


class Api:
    """An API server that has a word against every write of a route."""

    def __init__(self, error: ClusterError, *, wanted: bool) -> None:
        self.created: list[str] = []
        self.asked: list[str] = []
        self.status: dict[str, Any] = {"conditions": [TOLD]}
        self._error = error
        self._wanted = wanted
        self.hides = False

    async def get(self, resource: Resource, _: str, __: str) -> dict[str, Any]:
        if self.hides and resource in ROUTES.values():
            raise ForbiddenError("httproutes is forbidden", 403)
        if resource != MODELS:
            raise NotFoundError("there is none", 404)
        gateway = {"parentRefs": [{"name": "public"}], "grpcHostnames": ["grpc.example.com"]}
        traffic = {"traffic": {"gateway": gateway}}
        return {
            "metadata": {"namespace": "ml", "name": "digits", "uid": "u", "resourceVersion": "1"},
            "spec": {"source": {"uri": "s3://models/digits"}, **(traffic if self._wanted else {})},
            "status": self.status,
        }

    async def list(self, resource: Resource, *_: object, **__: object) -> list[dict[str, Any]]:
        if resource == SERVICES and self._wanted:
            found = service(parse(await self.get(MODELS, "", "")), "3-abc").values()
            return [
                dict(c.manifest) | {"metadata": c.manifest["metadata"] | {"uid": c.uid}}
                for c in found
            ]
        if resource in ROUTES.values() and not self._wanted:
            return [{"metadata": OWNED, "spec": {}}]
        return []

    async def merge(self, *arguments: Any) -> None:
        self.status = arguments[3]["status"]

    async def create(self, resource: Resource, _: str, body: dict[str, Any]) -> None:
        self._write(resource, body["metadata"]["name"])

    async def apply(self, resource: Resource, _: str, body: dict[str, Any]) -> None:
        self._write(resource, body["metadata"]["name"])

    async def delete(self, resource: Resource, _: str, name: str, __: str) -> None:
        self._write(resource, name)

    def _write(self, resource: Resource, name: str) -> None:
        self.asked.append(resource.plural)
        if resource in ROUTES.values():
            raise self._error
        if resource == DEPLOYMENTS:
            self.created.append(name)


class Sources:
    """A store with version 3."""

    def observation(self, *_: object) -> object:
        return listed(3)


def reconciled(api: Api) -> Reconciler:
    settings = RenderSettings("server", "sync")
    client, sources = cast("Any", api), cast("Any", Sources())
    return Reconciler(client, sources, settings, "me", lambda: NOW)


def condition(api: Api, kind: str) -> dict[str, Any]:
    return next(c for c in api.status["conditions"] if c["type"] == kind)


@pytest.mark.parametrize("wanted", [True, False], ids=["written", "deleted"])
@pytest.mark.parametrize("status", [400, 403, 422, 500])
def test_what_the_api_server_refuses_is_told_and_asked_for_later(
    status: int, *, wanted: bool
) -> None:
    api = Api(ClusterError("hostname is not allowed", status), wanted=wanted)
    reconciler = reconciled(api)
    asyncio.run(reconciler.reconcile(KEY))
    assert len(api.created) == 1
    asyncio.run(reconciler.reconcile(KEY))
    assert [api.asked.count(ROUTES[kind].plural) for kind in ROUTE_KINDS] == [1, 1]
    told, what = condition(api, "RoutesAccepted"), "" if wanted else "to delete "
    assert (told["status"], told["reason"]) == ("False", "RouteRefused")
    assert f"refuses {what}HTTPRoute digits: hostname is not allowed" in told["message"]
    assert condition(api, "Degraded")["reason"] == "RouteRefused"


@pytest.mark.parametrize("wanted", [True, False], ids=["written", "deleted"])
@pytest.mark.parametrize("error", [ClusterError("no answer"), ConflictError("changed", 409)])
def test_any_other_failure_is_raised_when_the_rest_is_done(
    error: ClusterError, *, wanted: bool
) -> None:
    api = Api(error, wanted=wanted)
    with pytest.raises(type(error)):
        asyncio.run(reconciled(api).reconcile(KEY))
    assert len(api.created) == 1


def test_a_role_that_may_list_and_not_get_routes_holds_up_nothing_else() -> None:
    api = Api(ForbiddenError("httproutes is forbidden", 403), wanted=True)
    api.hides = True
    asyncio.run(reconciled(api).reconcile(KEY))
    assert len(api.created) == 1


def test_nothing_more_is_written_by_what_does_not_lead() -> None:
    api = Api(NotLeadingError("the Lease is another's"), wanted=True)
    with pytest.raises(NotLeadingError):
        asyncio.run(reconciled(api).reconcile(KEY))
    assert not api.created
