"""The pages of the stores, command by command as they stand there, against real stores.

The API server, its controllers and the operator are real. There is no node, so that pods become ready
without being run; what their sync container would do is done by hand, with its own arguments.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cluster import tools
from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from cluster.stores import AzureServer, GcsServer
from handsync import sync_by_hand
from modelserver import free_port
from small_exports import contents, tree, write
from world import BUCKET, Kube, eventually, running_operator

ROOT = Path(__file__).parents[2]
STEPS = {
    "sources-http": ["serve", "model", "next", "secret", "wrong"],
    "sources-s3": ["upload", "model", "next", "wrong"],
    "sources-gcs": ["upload", "model", "next", "wrong"],
    "sources-azure": ["upload", "model", "next", "wrong"],
}
SAYS = {
    "sources-http": [
        r'"event": "indexed"',
        r'"formatVersion": 1,',
        r"digits +True +1 +1 +Available +1/1",
        r'"event": "indexed"',
        r"/nowhere/index\.json does not exist: create it with `slipway-sync index`",
    ],
    "sources-s3": [
        r"1/saved_model\.pb",
        r"digits +True +1 +1 +Available +1/1",
        r"access denied \(403 SignatureDoesNotMatch\)",
    ],
    "sources-gcs": [
        r"1/saved_model\.pb",
        r"digits +True +1 +1 +Available +1/1",
        r"GOOGLE_SERVICE_ACCOUNT_KEY is not JSON: put the whole key file of a service account there",
    ],
    "sources-azure": [
        r"1/saved_model\.pb",
        r"digits +True +1 +1 +Available +1/1",
        # The emulator's word and Azure's own differ.
        r"access denied \(403 (AuthenticationFailed|AuthorizationFailure)\)",
    ],
}


@dataclass
class Place:
    """What differs here: variables of the page's first block, files, and texts of its commands."""

    variables: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)


def blocks(page: str) -> dict[str, str]:
    text = (ROOT / "docs" / "guide" / f"{page}.md").read_text()
    return dict(re.findall(r"^```sh ([a-z]+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


@pytest.fixture(params=STEPS)
def page(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def place(page: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if page == "sources-http":
        port = str(free_port())
        yield Place(
            {"URL": f"http://127.0.0.1:{port}"},
            {"keys.env": "HTTP_BEARER_TOKEN=a-token\n"},
            {" 8000 &": f" --bind 127.0.0.1 {port} &"},
        )
    elif page == "sources-s3":
        s3: S3Server = request.getfixturevalue("s3")
        bucket = f"pages-{os.urandom(4).hex()}"
        s3.create_bucket(bucket)
        keys = f"AWS_ACCESS_KEY_ID={s3.access_key}\nAWS_SECRET_ACCESS_KEY={s3.secret_key}\n"
        yield Place(
            {"BUCKET": bucket, "ENDPOINT": s3.endpoint, "REGION": s3.region}, {"keys.env": keys}
        )
    elif page == "sources-gcs":
        with GcsServer.start(tmp_path / "gcs") as gcs, token_server() as token_uri:
            gcs.create_bucket(BUCKET)
            yield Place(
                {"BUCKET": BUCKET, "ENDPOINT": gcs.endpoint},
                {"key.json": json.dumps(account(token_uri))},
            )
    else:
        with AzureServer.start(tmp_path / "azure") as azure:
            azure.create_bucket(BUCKET)
            keys = (
                f"AZURE_STORAGE_ACCOUNT_NAME={azure.account}\n"
                f"AZURE_STORAGE_ACCOUNT_KEY={azure.key}\n"
            )
            yield Place({"CONTAINER": BUCKET, "ENDPOINT": azure.endpoint}, {"keys.env": keys})


def account(token_uri: str) -> dict[str, str]:
    """A service account's key file, whose tokens come from this machine."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": "test",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "slipway@test.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }


@contextmanager
def token_server() -> Iterator[str]:
    """Gives everybody a token, which the emulator takes without a look."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            token = {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}
            body = json.dumps(token).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join()


def programs(directory: Path, page: str) -> str:
    """A folder with the programs that a page names."""
    directory.mkdir()
    agent = directory / "slipway-sync"
    agent.write_text(f'#!/bin/sh\nexec {sys.executable} -m slipway_sync.agent "$@"\n')
    agent.chmod(0o755)
    (directory / "python").symlink_to(sys.executable)
    for name in ("kubectl",) if page == "sources-http" else ("kubectl", "rclone"):
        (directory / name).symlink_to(tools.find(name))
    return f"{directory}:{os.environ['PATH']}"


def run(script: str, cwd: Path, environment: Mapping[str, str]) -> str:
    """Run a page in one shell, end what it left in the background, and return what it said."""
    with (cwd / "said").open("w+b") as said:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(240)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        text = said.read().decode()
    assert code == 0, text
    return text


def test_every_step_of_every_page_is_run() -> None:
    for page, steps in STEPS.items():
        assert list(blocks(page)) == ["place", *steps]


@pytest.mark.usefixtures("kubelet")
def test_a_page_can_be_followed_literally(
    page: str, place: Place, controlplane: ControlPlane, kube: Kube, tmp_path: Path
) -> None:
    namespace = kube.namespace()
    found = blocks(page)
    for name in place.variables:
        assert f"{name}=" in found["place"], "what is set here, the page tells to set"
    given = place.variables | {"NAMESPACE": namespace}
    script = "".join(
        ["set -euo pipefail\n", found["place"], *(f"{name}='{v}'\n" for name, v in given.items())]
        + [found[step] for step in STEPS[page]]
    )
    for old, new in place.elsewhere.items():
        assert old in script
        script = script.replace(old, new)
    # The pages poll as a Model does by default; here time is short.
    script = script.replace("  source:\n", "  source:\n    pollInterval: 1s\n    settle: 0s\n")
    desk = tmp_path / "desk"
    write(desk / "exports" / "1", contents())
    write(desk, {name: text.encode() for name, text in place.files.items()})
    environment = {
        "PATH": programs(tmp_path / "bin", page),
        "HOME": str(tmp_path),
        "KUBECONFIG": str(controlplane.kubeconfig),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    with running_operator(
        str(controlplane.kubeconfig), tmp_path / "operator.log", f"--namespace={namespace}"
    ):
        said = run(script, desk, environment)
        # The credentials that the page adds last are a transition of their own.
        eventually(
            "it is over",
            lambda: (
                kube.status(namespace, "digits").get("phase") == "Available"
                and len(with_replicas(kube, namespace)) == 1
            ),
        )
    assert re.search(r"[\s\S]*?".join(SAYS[page]), said), said
    [deployment] = with_replicas(kube, namespace)
    with served_again(place, desk / "exports") if page == "sources-http" else nullcontext():
        last = sync_by_hand(kube, namespace, deployment, tmp_path / "pod")
    assert last["event"] == "synced"
    assert tree(tmp_path / "pod" / "models" / "digits" / "2") == contents()
    kube.core.delete_namespace(namespace)


def with_replicas(kube: Kube, namespace: str) -> list[str]:
    """Names of the Deployments that are to have pods."""
    items = kube.apps.list_namespaced_deployment(namespace).items
    return [item.metadata.name for item in items if item.spec.replicas]


@contextmanager
def served_again(place: Place, exports: Path) -> Iterator[None]:
    """The page's own server ended with its shell."""
    port = int(place.variables["URL"].rpartition(":")[2])
    handler = partial(SimpleHTTPRequestHandler, directory=str(exports))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield
        server.shutdown()
        thread.join()
