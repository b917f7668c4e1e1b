"""What the operator finds out when it starts: kinds that it may not list are not watched, and no traceback."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from slipway_operator.app.exits import ExitCode, StartError
from slipway_operator.app.kinds import find_models, find_routes
from slipway_operator.cluster.client import (
    ROUTES,
    Client,
    ClusterError,
    ForbiddenError,
    NotFoundError,
)

HOST = "https://cluster:6443"
HTTP, GRPC = ROUTES["HTTPRoute"], ROUTES["GRPCRoute"]
KNOWN = {"resources": [{"name": HTTP.plural}, {"name": GRPC.plural}]}
DISCOVERY = f"/apis/{HTTP.api}"


class Server(Client):
    """An API server that answers, or not, by path."""

    def __init__(self, errors: Mapping[str, ClusterError] | None = None) -> None:
        super().__init__(cast("Any", None))
        self._errors = errors or {}
        self.asked: list[tuple[str, Any]] = []

    async def request(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        assert method == "GET"
        self.asked.append((path, more.get("query")))
        if error := self._errors.get(path):
            raise error
        return KNOWN if path == DISCOVERY else {"items": [], "resources": []}


def found(server: Client, *namespaces: str) -> list[str]:
    return [r.plural for r in asyncio.run(find_routes(server, HOST, namespaces))]


def test_kinds_that_can_be_listed_are_watched_one_item_being_asked_for() -> None:
    server = Server()
    assert found(server) == ["httproutes", "grpcroutes"]
    assert (HTTP.path(), {"limit": "1"}) in server.asked


def test_each_namespace_that_is_watched_is_asked_about() -> None:
    no = ForbiddenError("grpcroutes is forbidden", 403)
    server = Server({HTTP.path(): no, GRPC.path("b"): no})
    assert found(server, "a", "b") == ["httproutes"]
    assert {HTTP.path("a"), HTTP.path("b"), GRPC.path("a")} <= {path for path, _ in server.asked}


@pytest.mark.parametrize(
    "errors",
    [
        {DISCOVERY: NotFoundError("no such group", 404)},
        {DISCOVERY: ForbiddenError("discovery is forbidden", 403)},
        {HTTP.path(): NotFoundError("gone", 404), GRPC.path(): ForbiddenError("no", 403)},
    ],
)
def test_kinds_that_cannot_be_listed_are_not_watched(errors: Mapping[str, ClusterError]) -> None:
    assert found(Server(errors)) == []


@pytest.mark.parametrize("path", [DISCOVERY, GRPC.path()])
@pytest.mark.parametrize("status", [0, 401, 503])
def test_any_other_answer_is_one_sentence_with_an_exit_code(path: str, status: int) -> None:
    with pytest.raises(StartError) as raised:
        found(Server({path: ClusterError("the server is not well", status)}))
    assert HOST in str(raised.value)
    assert "the server is not well" in str(raised.value)
    denied = status == 401
    assert raised.value.code == (ExitCode.ACCESS_DENIED if denied else ExitCode.CLUSTER_UNAVAILABLE)


def test_an_api_server_without_models_is_told_how_to_get_them() -> None:
    with pytest.raises(StartError, match="install the CustomResourceDefinition"):
        asyncio.run(find_models(Server(), HOST))
