"""The native front's REST port as callers meet it, without TensorFlow: what only it promises, and strangers (§12)."""

from __future__ import annotations

import ctypes
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from modelserver import eventually
from rest_ports import WAIT, Gate, rest_ports
from slipway_server.frontends.http.connection import ConnectionLimits
from slipway_server.frontends.http.messages import HttpResponse
from slipway_server.frontends.http.server import RestLimits
from slipway_server.frontends.native.rest import NativeRestServer

CURL = ("curl", "--silent", "--show-error", "--max-time", str(int(WAIT)))


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.let_go()


@pytest.fixture
def rest(gate: Gate) -> Iterator[Callable[..., NativeRestServer]]:
    yield from rest_ports(gate, "native")


def _raw(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT)


def _all_of(client: socket.socket) -> bytes:
    """Everything until the server closes, which it may do while the client still sends."""
    data = b""
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def _curl(*arguments: str, body: str | None = None) -> str:
    command = [*CURL, *arguments, *(["--data-binary", "@-"] if body else [])]
    return subprocess.run(command, input=body, check=True, capture_output=True, text=True).stdout


# ---- HTTP ------------------------------------------------------------------------------------------------------------


def test_http2_without_tls(rest: Callable[..., NativeRestServer]) -> None:
    server = rest(headers=(("", (("X-Further", "1"),)),))
    url = f"http://127.0.0.1:{server.ports[0]}"
    prior = "--http2-prior-knowledge"
    shown = ("--write-out", " %{http_version} %{http_code}")
    assert _curl(prior, *shown, f"{url}/livez") == "ok 2 200"
    large = "x" * 300_000
    assert _curl(prior, *shown, f"{url}/echo", body=large) == f"{large} 2 200"
    assert json.loads(_curl(prior, f"{url}/head"))["host"] == f"127.0.0.1:{server.ports[0]}"
    answer = _curl(prior, "--head", f"{url}/livez")
    assert "content-length: 2" in answer
    assert "x-further: 1" in answer


@pytest.mark.parametrize("offer", ["h2c", "TLS/1.0", "websocket"])
def test_an_offer_to_upgrade_is_a_plain_request(
    rest: Callable[..., NativeRestServer], offer: str
) -> None:
    with _raw(rest().ports[0]) as client:
        for _ in range(2):
            client.sendall(
                b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                b"Upgrade: " + offer.encode() + b"\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
                b"Content-Length: 5\r\n\r\nhello"
            )
            answer = b""
            while not answer.endswith(b"hello"):
                piece = client.recv(65536)
                assert piece, answer
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_of_http_1_0_is_told_whether_its_connection_stays(
    rest: Callable[..., NativeRestServer],
) -> None:
    port = rest().ports[0]
    with _raw(port) as client:
        for _ in range(2):
            client.sendall(b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head = client.recv(65536).lower()
            assert head.startswith((b"http/1.0 200 ", b"http/1.1 200 "))
            assert b"connection: keep-alive\r\n" in head
    with _raw(port) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert _all_of(client).endswith(b"\r\n\r\nok")


def test_the_absolute_form_of_a_target(rest: Callable[..., NativeRestServer]) -> None:
    with _raw(rest().ports[0]) as client:
        client.sendall(b"GET http://serving.example/livez?a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).endswith(b"\r\n\r\nok")


BOTH = (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n")
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
HIDDEN = b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("first", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("cut", [0, 40])
def test_nothing_hides_behind_a_body_with_two_lengths(
    rest: Callable[..., NativeRestServer], first: bytes, order: int, cut: int
) -> None:
    server = rest()
    head = POST + b"".join(BOTH[::order]) + b"\r\n"
    with _raw(server.ports[0]) as client:
        client.sendall(first + head[:cut])
        client.sendall(head[cut:] + HIDDEN)
        _all_of(client)
    # The page is none, the request with two lengths is one, and the hidden one never was.
    assert server.requests <= 1


@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_body_arrives_whole(
    rest: Callable[..., NativeRestServer], *, chunked: bool
) -> None:
    body = bytes(range(251)) * 20_000
    pieces = [body[at : at + 77_777] for at in range(0, len(body), 77_777)]
    url = f"http://127.0.0.1:{rest().ports[0]}/echo"
    with httpx.Client(trust_env=False, timeout=WAIT) as http:
        assert http.post(url, content=iter(pieces) if chunked else body).content == body


# ---- pages -----------------------------------------------------------------------------------------------------------


def test_probes_are_answered_while_somebody_holds_the_interpreters_lock(
    rest: Callable[..., NativeRestServer],
) -> None:
    server = rest(pages={"/readyz": lambda: HttpResponse(200, b"ready")}, health_port=0)
    waitpid = ctypes.PyDLL(None).waitpid  # It keeps the lock.
    for port in server.ports:
        for path in ("livez", "readyz"):
            url = f"http://127.0.0.1:{port}/{path}"
            client = subprocess.Popen([*CURL, "--fail", url], stdout=subprocess.PIPE)
            status = ctypes.c_int(-1)
            assert waitpid(client.pid, ctypes.byref(status), 0) == client.pid
            assert status.value == 0, path
            client.returncode = 0
            assert client.stdout is not None
            assert client.stdout.read() == {"livez": b"ok", "readyz": b"ready"}[path]
            client.stdout.close()


def test_a_page_says_what_python_says_now(rest: Callable[..., NativeRestServer]) -> None:
    state = {"text": b"one"}
    server = rest(pages={"/readyz": lambda: HttpResponse(200, state["text"])})
    url = f"http://127.0.0.1:{server.ports[0]}/readyz"
    assert httpx.get(url, trust_env=False).text == "one"
    state["text"] = b"two"
    server.refresh(ready=False)
    assert httpx.get(url, trust_env=False).text == "two"


@pytest.mark.parametrize("end", ["ready", "drains"])
def test_a_page_waits_until_the_server_is_ready(
    rest: Callable[..., NativeRestServer], end: str
) -> None:
    ready = threading.Event()
    page = {"/readyz": lambda: HttpResponse(200 if ready.is_set() else 503)}
    server = rest(pages=page, awaited=("/readyz",))
    url = f"http://127.0.0.1:{server.ports[0]}/readyz"
    assert httpx.get(f"{url}?wait=0.05", trust_env=False, timeout=WAIT).status_code == 503
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(
            lambda: httpx.get(f"{url}?wait=5", trust_env=False, timeout=WAIT).status_code
        )
        eventually("it has come", lambda: server.connections == 1, WAIT)
        if end == "ready":
            ready.set()
            server.refresh(ready=True)
        else:
            server.drain()
        assert held.result(WAIT) == (200 if end == "ready" else 503)


# ---- strangers -------------------------------------------------------------------------------------------------------


def test_idle_clients_that_fill_the_limit_do_not_silence_probes(
    rest: Callable[..., NativeRestServer],
) -> None:
    server = rest(RestLimits(threads=1, connections=20))
    port = server.ports[0]
    idle = [_raw(port) for _ in range(120)]
    eventually("they fill the limit", lambda: server.connections >= 20, WAIT)
    try:
        for _ in range(20):
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=WAIT
            ) as http:
                answer = http.get("/livez")
                assert (answer.status_code, answer.text) == (200, "ok")
                assert answer.headers["connection"] == "close"
                refused = http.post("/echo")
                assert refused.status_code == 503
                assert refused.json() == {"error": "The server has reached its connection limit"}
    finally:
        for one in idle:
            one.close()
    eventually("there is room again", lambda: server.connections == 0, WAIT)
    assert httpx.post(f"http://127.0.0.1:{port}/echo", trust_env=False).status_code == 200


@pytest.mark.parametrize("where", ["trailer", "trailers", "chunk extension"])
def test_what_follows_a_body_has_a_bound(rest: Callable[..., NativeRestServer], where: str) -> None:
    start = POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
    endless = {
        "trailer": (b"0\r\nX-T: ", b"a" * 65536),
        "trailers": (b"0\r\n", b"X-T: a\r\n" * 8192),
        "chunk extension": (b"2;", b"a" * 65536),
    }[where]
    with _raw(rest().ports[0]) as client:
        sent = 0
        try:
            client.sendall(start + endless[0])
            while sent < 64 << 20:
                client.sendall(endless[1])
                sent += len(endless[1])
        except OSError:
            pass
        assert sent < 64 << 20


def test_a_connection_that_speaks_http2_and_asks_nothing_is_ended(
    rest: Callable[..., NativeRestServer],
) -> None:
    limits = ConnectionLimits(head_seconds=0.1)
    port = rest(RestLimits(threads=1, connection=limits)).ports[0]
    with _raw(port) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        _all_of(client)


def test_an_idle_connection_is_ended_after_its_time(
    rest: Callable[..., NativeRestServer],
) -> None:
    limits = ConnectionLimits(idle_seconds=0.1)
    port = rest(RestLimits(threads=1, connection=limits)).ports[0]
    with _raw(port) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert _all_of(client).endswith(b"\r\n\r\nok")


def test_half_sent_bodies_that_fill_the_budget_end_and_others_are_answered(
    rest: Callable[..., NativeRestServer],
) -> None:
    limits = RestLimits(threads=1, bodies=1 << 20, connection=ConnectionLimits(request_seconds=2.0))
    port = rest(limits).ports[0]
    half = [_raw(port) for _ in range(8)]
    for one in half:
        one.setblocking(False)
        one.send(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 100_000)
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, trust_env=False, timeout=WAIT) as http:
        assert http.post("/echo", content=b"small").content == b"small"
        large = b"x" * 500_000
        assert http.post("/echo", content=large).content == large
    for one in half:
        one.settimeout(WAIT)
        assert _all_of(one).startswith(b"HTTP/1.1 408 ")
        one.close()


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_what_is_in_flight_ends_and_nobody_new_is_let_in(
    rest: Callable[..., NativeRestServer], gate: Gate
) -> None:
    server = rest()
    port = server.ports[0]
    with _raw(port) as idle, _raw(port) as busy, ThreadPoolExecutor(1) as pool:
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).endswith(b"ok")
        assert server.pages_only() == {f"127.0.0.1:{idle.getsockname()[1]}"}
        server.drain()
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"connection: close\r\n" in _all_of(idle).lower()
        busy.sendall(b"POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert gate.entered.acquire(timeout=WAIT)
        stopping = pool.submit(server.stop, WAIT)
        eventually("the port is closed", lambda: _refused(port), WAIT)
        gate.let_go()
        assert _all_of(busy).startswith(b"HTTP/1.1 200 OK\r\n")
        stopping.result(WAIT)


def _refused(port: int) -> bool:
    try:
        _raw(port).close()
    except ConnectionError:
        return True
    return False


def test_long_idle_connections_are_closed_when_asked_to(
    rest: Callable[..., NativeRestServer], gate: Gate
) -> None:
    server = rest()
    port = server.ports[0]
    with _raw(port) as idle, _raw(port) as busy:
        busy.sendall(b"POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert gate.entered.acquire(timeout=WAIT)
        eventually("both are there", lambda: server.connections == 2, WAIT)
        eventually("one is left", lambda: server.close_idle(0.0) or server.connections == 1, WAIT)
        assert _all_of(idle) == b""
        gate.let_go()
        assert busy.recv(15) == b"HTTP/1.1 200 OK"
