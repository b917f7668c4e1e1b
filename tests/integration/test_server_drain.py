"""Design T9: no request fails while a server drains, whatever its clients' connections look like (unlike §0)."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import grpc
import httpx
import pytest

from modelserver import ModelServer, eventually, free_port, running
from savedmodels import save_double

DRAIN = 6
FLAGS = ("--model_name=m", f"--drain_seconds={DRAIN}", "--max_connection_age_seconds=4")
LEAST, QUIET = 3, 1
LONG = 40
UNTIL_NONE = ("--model_name=m", f"--drain_seconds={LONG}", "--max_connection_age_seconds=4")
"""A drain that nobody wants to see waited out."""


class Balancer:
    """A TCP balancer: new connections go to the backends in rotation, open ones stay where they are."""

    def __init__(self, backends: list[int]) -> None:
        self.rotation = list(backends)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._socket.getsockname()[1])
        self._next = 0
        self._closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._socket.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self._next += 1
            backend = socket.create_connection(
                ("127.0.0.1", self.rotation[self._next % len(self.rotation)])
            )
            threading.Thread(target=_pipe, args=(client, backend), daemon=True).start()


def _pipe(client: socket.socket, backend: socket.socket) -> None:
    other = {client: backend, backend: client}
    open_sides = {client, backend}
    with client, backend:
        while open_sides:
            for side in select.select(list(open_sides), [], [])[0]:
                try:
                    data = side.recv(65536)
                    if data:
                        other[side].sendall(data)
                        continue
                    other[side].shutdown(socket.SHUT_WR)
                except OSError:
                    return
                open_sides.discard(side)


@contextlib.contextmanager
def balanced(ports: list[int]) -> Iterator[Balancer]:
    balancer = Balancer(ports)
    try:
        yield balancer
    finally:
        balancer.close()


class Callers:
    """Threads that call on long-lived connections, with the same pause after each call, and remember what failed."""

    def __init__(self, grpc_port: int, rest_port: int, *, each: int, pause: float = 0.0) -> None:
        self.sent = 0
        self._pause = pause
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=call, args=(port,))
            for call, port in ((self._call_grpc, grpc_port), (self._call_rest, rest_port))
            for _ in range(each)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _count(self, failure: str = "") -> None:
        with self._lock:
            self.sent += 1
            if failure:
                self.failures.append(failure)
        self._stopped.wait(self._pause)

    def _call_grpc(self, port: int) -> None:
        # Each channel has connections of its own; gRPC would share them otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            request = predict_request()
            while not self._stopped.is_set():
                try:
                    call(request, timeout=20)
                except grpc.RpcError as error:
                    self._count(f"grpc {error.code()} {error.details()}")
                else:
                    self._count()

    def _call_rest(self, port: int) -> None:
        connection: http.client.HTTPConnection | None = None
        body = json.dumps({"instances": [1.0, 2.0]})
        while not self._stopped.is_set():
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.request("POST", "/v1/models/m:predict", body)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._count(f"rest {type(error).__name__} {error}")
                connection = None
                continue
            self._count("" if answer.status == 200 else f"rest {answer.status} {text!r}")
            if answer.will_close:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


@contextlib.contextmanager
def asking(port: int, path: str, every: float = 0.3) -> Iterator[list[int]]:
    """Ask for a page again and again, as a probe does; yields the answers' status."""
    stopped = threading.Event()
    answers: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            while not stopped.wait(every):
                with contextlib.suppress(httpx.TransportError):
                    answers.append(http.get(path).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stopped.set()
        thread.join(30)


def predict_request() -> bytes:
    """A PredictRequest for model `m` with input x = [1, 2], without importing TensorFlow here."""
    tensor = b"\x08\x01\x12\x04\x12\x02\x08\x02\x2a\x08\x00\x00\x80\x3f\x00\x00\x00\x40"
    entry = b"\x0a\x01x" + b"\x12" + bytes([len(tensor)]) + tensor
    return b"\x0a\x03\x0a\x01m" + b"\x12" + bytes([len(entry)]) + entry


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m"
    save_double(path / "1", 1)
    return path


@pytest.mark.timeout(300)
def test_sixteen_callers_see_no_failure_while_one_of_two_servers_drains(
    base_path: Path, tmp_path: Path
) -> None:
    flags = (*UNTIL_NONE, f"--model_base_path={base_path}")
    with running(tmp_path, *flags) as first, running(tmp_path, *flags) as second:
        first.wait_ready(), second.wait_ready()
        with (
            balanced([first.port, second.port]) as rpc,
            balanced([first.rest_port, second.rest_port]) as rest,
            Callers(rpc.port, rest.port, each=8) as callers,
        ):
            eventually("traffic flows", lambda: callers.sent > 500)
            began = time.monotonic()
            first.process.send_signal(signal.SIGTERM)
            eventually("it is not ready", lambda: first.get("/readyz").status_code == 503)
            rpc.rotation.remove(first.port)
            rest.rotation.remove(first.rest_port)
            assert first.process.wait(LONG + 20) == 0
            assert time.monotonic() - began >= LEAST + QUIET
            sent = callers.sent
            eventually("traffic goes on", lambda: callers.sent > sent + 500)
        assert callers.failures == []
        [stopping] = first.events("stopping")
        assert stopping["grace_seconds"] > 0
        assert stopping["reason"].startswith("no connection left after ")


@pytest.mark.timeout(300)
def test_callers_that_take_a_while_between_requests_are_told_before_their_connection_ends(
    base_path: Path, tmp_path: Path
) -> None:
    flags = (*UNTIL_NONE, f"--model_base_path={base_path}")
    with running(tmp_path, *flags) as first, running(tmp_path, *flags) as second:
        first.wait_ready(), second.wait_ready()
        with (
            balanced([first.port, second.port]) as rpc,
            balanced([first.rest_port, second.rest_port]) as rest,
            Callers(rpc.port, rest.port, each=4, pause=LEAST + QUIET + 1.5) as callers,
        ):
            eventually("everybody has a connection", lambda: callers.sent >= 8)
            first.process.send_signal(signal.SIGTERM)
            eventually("it is not ready", lambda: first.get("/readyz").status_code == 503)
            rpc.rotation.remove(first.port)
            rest.rotation.remove(first.rest_port)
            assert first.process.wait(LONG + 20) == 0
            sent = callers.sent
            eventually("traffic goes on", lambda: callers.sent > sent + 8)
        assert callers.failures == []
        [stopping] = first.events("stopping")
        assert stopping["reason"].startswith("no connection left after ")


def test_a_server_without_clients_leaves_once_the_proxies_know(
    base_path: Path, tmp_path: Path
) -> None:
    health = free_port()
    flags = (*UNTIL_NONE, f"--model_base_path={base_path}", f"--health_port={health}")
    with running(tmp_path, *flags) as server:
        server.wait_ready()
        with (
            asking(server.rest_port, "/readyz"),
            asking(server.rest_port, "/monitoring/prometheus/metrics"),
            # These stay open, and nothing is asked on the one any more, on the other never.
            server.http.stream("GET", "/livez"),
            socket.create_connection(("127.0.0.1", health)),
        ):
            began = time.monotonic()
            assert server.terminate() == 0
            took = time.monotonic() - began
        [stopping] = server.events("stopping")
        assert stopping["reason"].startswith("no connection left after ")
        assert took >= LEAST + QUIET


@pytest.mark.parametrize("port", ["port", "rest_port"])
def test_a_client_that_keeps_its_connection_is_waited_for_until_drain_seconds_at_most(
    base_path: Path, tmp_path: Path, port: str
) -> None:
    with running(tmp_path, *FLAGS, f"--model_base_path={base_path}") as server:
        server.wait_ready()
        with socket.create_connection(("127.0.0.1", getattr(server, port))):
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            eventually("it stops", lambda: server.events("stopping"))
            assert DRAIN <= time.monotonic() - began < 10 * DRAIN
        assert server.process.wait(30) == 0
        [stopping] = server.events("stopping")
        # An HTTP connection that has been idle for as long is closed at the same moment.
        left = (1,) if port == "port" else (0, 1)
        reasons = {f"drain_seconds over with {n} connection{'s' * (n == 0)}" for n in left}
        assert stopping["reason"] in reasons


def test_a_client_over_the_unix_socket_is_waited_for(base_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    flags = (*FLAGS, f"--model_base_path={base_path}", f"--grpc_socket_path={path}")
    with running(tmp_path, *flags) as server:
        server.wait_ready()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert server.terminate() == 0
        [stopping] = server.events("stopping")
        assert stopping["reason"] == "drain_seconds over with 1 connection"


def test_a_rest_connection_that_has_long_been_idle_holds_nobody_up(
    base_path: Path, tmp_path: Path
) -> None:
    flags = ("--drain_seconds=14", "--model_name=m", f"--model_base_path={base_path}")
    with running(tmp_path, *flags) as server:
        server.wait_ready()
        assert server.predict("m", {"instances": [1.0]}).status_code == 200
        time.sleep(10.5)  # it is idle for 14 s shortly after the drain could end
        began = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - began >= LEAST + QUIET
        [stopping] = server.events("stopping")
        assert stopping["reason"].startswith("no connection left after ")


def test_clients_that_come_and_go_show_that_a_proxy_leads_here_still(
    base_path: Path, tmp_path: Path
) -> None:
    with running(tmp_path, *FLAGS, f"--model_base_path={base_path}") as server:
        server.wait_ready()
        # Each request has a connection of its own, which is seldom there when somebody looks.
        with asking(server.rest_port, "/v1/models/m", every=0.05) as asked:
            assert server.terminate() == 0
            assert asked
        [stopping] = server.events("stopping")
        assert stopping["reason"].startswith("drain_seconds over with ")


def test_a_draining_server_answers_but_says_so(base_path: Path, tmp_path: Path) -> None:
    with running(tmp_path, *FLAGS, f"--model_base_path={base_path}") as server:
        server.wait_ready()
        assert "connection" not in server.predict("m", {"instances": [1.0]}).headers
        with socket.create_connection(("127.0.0.1", server.port)):
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            eventually("it is not ready", lambda: server.get("/readyz").status_code == 503)
            # A second SIGTERM, and one SIGINT, do not cut it short.
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGINT)
            answer = server.predict("m", {"instances": [1.0]})
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            assert answer.json() == {"predictions": [3.0]}
            assert "draining" in server.get("/readyz").json()["reasons"][0]
            assert server.get("/livez").status_code == 200
            assert server.process.wait(10 * DRAIN) == 0
            assert time.monotonic() - began >= DRAIN


def test_two_interrupts_cut_the_drain_short(base_path: Path, tmp_path: Path) -> None:
    flags = ("--model_name=m", f"--model_base_path={base_path}", "--drain_seconds=300")
    with running(tmp_path, *flags) as server:
        server.wait_ready()
        server.process.send_signal(signal.SIGINT)
        eventually("it drains", lambda: server.events("draining"))
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(90) == 0
        [stopping] = server.events("stopping")
        assert stopping["reason"] == "cut short by a second interrupt"


def test_a_server_that_never_served_does_not_wait(tmp_path: Path) -> None:
    flags = ("--model_name=m", f"--model_base_path={tmp_path}/nothing", "--drain_seconds=300")
    with running(tmp_path, *flags) as server:
        eventually("it is alive", lambda: server.get("/livez").status_code == 200)
        assert server.terminate() == 0
        [stopping] = server.events("stopping")
        assert stopping["reason"] == "nothing was served"
    assert isinstance(server, ModelServer)
    assert free_port() != server.port
