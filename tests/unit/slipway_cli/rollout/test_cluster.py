"""What a cluster that is not as expected becomes: one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from http_server import HttpHandler, LocalHttpServer
from slipway_cli.errors import CliError, ExitCode
from slipway_cli.rollout.cluster import Cluster


class Handler(HttpHandler):
    owner: ApiServer

    def do_GET(self) -> None:  # noqa: N802
        self.send_body(self.owner.status, self.owner.body, {"Content-Type": "application/json"})


@dataclass
class ApiServer(LocalHttpServer):
    """Gives the same answer to everything."""

    handler = Handler
    status: int = 404
    body: bytes = b"404 page not found\n"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as running:
        yield running


def kubeconfig(folder: Path, url: str, namespace: str = "") -> str:
    context = {"cluster": "c", "user": "u", **({"namespace": namespace} if namespace else {})}
    path = folder / "config"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {"token": "secret-token"}}],
                "contexts": [{"name": "x", "context": context}],
                "current-context": "x",
            }
        )
    )
    return str(path)


def status(message: str) -> bytes:
    return json.dumps({"kind": "Status", "message": message}).encode()


@pytest.mark.parametrize(
    ("code", "body", "says"),
    [
        (404, b"404 page not found\n", "has no Models: Slipway is not installed there"),
        (404, status("the server could not find the requested resource"), "is not installed there"),
        (404, status('models.slipway.dev "digits" not found'), "vision has no Model digits"),
        (403, status('User "eve" cannot get resource'), "ask for the ClusterRole"),
        (401, status("Unauthorized"), "does not accept the kubeconfig's credentials: log in again"),
        (500, status("etcd is on fire"), "refused the request: etcd is on fire"),
    ],
)
def test_answers(server: ApiServer, tmp_path: Path, code: int, body: bytes, says: str) -> None:
    server.status, server.body = code, body
    cluster = Cluster("", "", kubeconfig(tmp_path, server.url, "vision"))
    with pytest.raises(CliError) as error:
        cluster.model("digits")
    assert says in str(error.value)
    assert "secret-token" not in str(error.value)
    assert "\n" not in str(error.value)


def test_nobody_there(tmp_path: Path) -> None:
    cluster = Cluster("", "", kubeconfig(tmp_path, "http://127.0.0.1:1"))
    assert cluster.namespace == "default"
    with pytest.raises(CliError, match=r"127\.0\.0\.1:1 does not answer") as error:
        cluster.model("digits")
    assert error.value.code is ExitCode.UNAVAILABLE


@pytest.mark.parametrize("content", ["", "{}", "[]", "kind: Config\n", "a: [", "\0"])
def test_a_kubeconfig_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(CliError, match="no cluster: "):
        Cluster("", "", str(path))
    with pytest.raises(CliError, match="no cluster: "):
        Cluster("", "", str(tmp_path / "nowhere"))


def test_a_context_that_is_not_there(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(CliError, match="has no context nowhere"):
        Cluster("", "nowhere", config)
