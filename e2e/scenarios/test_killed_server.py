"""What clients see when a server is killed: how long, for the number in the guide's troubleshooting page."""

import contextlib
import http.client
import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from stage import MODEL, Stage
from watching import is_ready

BODY = json.dumps({"instances": [[0.0] * 64]}).encode()
CLIENTS = 4
PAUSE = 0.01


class Knocking:
    """Clients that open a connection for each request, without pause: when they began, and what went wrong."""

    def __init__(self, rest_url: str) -> None:
        address = urlsplit(rest_url)
        self._place = address.hostname or "", address.port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._knock, daemon=True) for _ in range(CLIENTS)]
        self.outcomes: list[tuple[float, str]] = []
        """Seconds of the monotonic clock, and the failure or nothing."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _knock(self) -> None:
        while not self._stop.wait(PAUSE):
            began = time.monotonic()
            self.outcomes.append((began, self._ask()))

    def _ask(self) -> str:
        connection = http.client.HTTPConnection(*self._place, timeout=10)
        try:
            connection.request("POST", f"/v1/models/{MODEL}:predict", BODY)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()
        return "" if answer.status == http.HTTPStatus.OK else f"HTTP {answer.status}"


def first_process(container: str) -> int:
    """The process that a container was started with, as this machine numbers it."""
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            inside = re.search(r"^NSpid:.*\s1$", (directory / "status").read_text(), re.MULTILINE)
            if inside and container in (directory / "cgroup").read_text():
                return int(directory.name)
    raise AssertionError(f"no process of container {container}")


def server_of(pod: Any) -> Any:
    [status] = pod.status.container_statuses
    return status


def test_a_killed_server_costs_connections_for_a_moment_and_comes_back(stage: Stage) -> None:
    stage.offer_gpus(2)
    stage.upload(1)
    stage.create(serving={"replicas": 2})
    stage.wait_serving(1)
    _, rest = stage.reachable()
    names = sorted(pod.metadata.name for pod in stage.pods())
    for name in names:
        # A container that dies a second time is restarted after 10 s: each is killed once.
        [pod] = [pod for pod in stage.pods() if pod.metadata.name == name]
        process = first_process(server_of(pod).container_id.partition("://")[2])

        def back(name: str = name) -> bool:
            [pod] = [pod for pod in stage.pods() if pod.metadata.name == name]
            return server_of(pod).restart_count == 1 and is_ready(pod)

        with Knocking(rest) as clients:
            stage.wait("requests are answered", lambda c=clients: len(c.outcomes) > 100, 30)
            killed = time.monotonic()
            os.kill(process, signal.SIGKILL)
            stage.wait("the server is back", back)
            ready = time.monotonic()
            stage.wait_serving(1)
            settled = time.monotonic()
            stage.wait("requests go on", lambda c=clients, s=settled: c.outcomes[-1][0] > s + 3, 30)
        before = [what for moment, what in clients.outcomes if moment < killed - 1 and what]
        after = [what for moment, what in clients.outcomes if moment > settled and what]
        failed = [(moment - killed, what) for moment, what in clients.outcomes if what]
        refused = [moment for moment, what in failed if what == "ConnectionRefusedError"]
        during = sum(killed <= moment <= ready for moment, _ in clients.outcomes)
        print(
            f"kill -9 of one of two servers: connections refused until {1000 * max(refused, default=0):.0f} ms, "
            f"any failure until {1000 * max((moment for moment, _ in failed), default=0):.0f} ms after it, "
            f"{len(failed)} of {during} requests: {sorted({what for _, what in failed})}; "
            f"ready again after {ready - killed:.1f} s"
        )
        assert not before, before
        assert not after, after
        assert during > len(failed), "the other server goes on"
