"""The real server as a process of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

TIMEOUT = 90.0

FRONT = os.environ.get("SLIPWAY_FRONT", "")
"""What serves the ports of the servers that tests start: native, or the default."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: str, condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Wait until a condition holds; a connection refused on the way counts as not yet."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if result := condition():
                return result
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout} s: {what}")


@dataclass
class ModelServer:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    rest_port: int
    log_path: Path
    http: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line.get("event") == name]

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def predict(self, model: str, body: Any, version: str = "") -> httpx.Response:
        return self.http.post(f"/v1/models/{model}{version}:predict", json=body)

    def states(self, model: str) -> dict[int, str]:
        """Each version's state as the status API tells it."""
        body = self.get(f"/v1/models/{model}").json()
        return {int(one["version"]): one["state"] for one in body.get("model_version_status", [])}

    def wait_ready(self) -> ModelServer:
        def ready() -> bool:
            assert self.process.poll() is None, self.log_path.read_text()
            return self.get("/readyz").status_code == 200

        eventually("the server is ready", ready)
        return self

    def terminate(self, timeout: float = TIMEOUT) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@contextlib.contextmanager
def running(
    directory: Path,
    *flags: str,
    env: dict[str, str] | None = None,
    program: Sequence[str] = (sys.executable, "-m", "slipway_server"),
) -> Iterator[ModelServer]:
    """Start a server with some flags; ports are chosen, its log goes into the directory."""
    port, rest_port = free_port(), free_port()
    log_path = directory / f"server-{rest_port}.log"
    if not any(flag.startswith("--isolated_first_load") for flag in flags):
        # A child process for each of a dozen models would be most of a test's time.
        flags = ("--isolated_first_load=false", *flags)
    if FRONT and not any(flag.startswith("--front") for flag in flags):
        flags = (f"--front={FRONT}", *flags)
    command = [
        *program,
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        *flags,
    ]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={**clean, **(env or {})}
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{rest_port}", timeout=30, trust_env=False)
    try:
        yield ModelServer(process, port, rest_port, log_path, client)
    finally:
        client.close()
        if process.poll() is None:
            process.kill()
            process.wait()
