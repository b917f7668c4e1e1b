"""Both ports as callers meet them, without TensorFlow: overload, limits, TLS (§1, §11)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from certificates import Authority
from modelserver import eventually, free_port
from rest_ports import WAIT, AnyRest, Gate, rest_ports
from served_certificate import ServedCertificate
from slipway_server.frontends.http.connection import ConnectionLimits
from slipway_server.frontends.http.listener import listening_socket
from slipway_server.frontends.http.messages import HttpResponse
from slipway_server.frontends.http.server import RestLimits, RestServer
from slipway_server.frontends.rpc.transport.limits import RpcLimits
from slipway_server.frontends.rpc.transport.server import Address, RpcServer

PREDICT, STATUS = "/tensorflow.serving.PredictionService/Predict", "/s.ModelService/GetModelStatus"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.let_go()


@pytest.fixture(params=["python", "native"])
def each_rest(request: pytest.FixtureRequest, gate: Gate) -> Iterator[Callable[..., AnyRest]]:
    """Starts a REST port of either front."""
    yield from rest_ports(gate, request.param)


@pytest.fixture
def rest(gate: Gate) -> Iterator[Callable[..., RestServer]]:
    """Starts the Python front's REST port."""
    yield from rest_ports(gate, "python")


@pytest.fixture
def rpc(gate: Gate) -> Iterator[Callable[..., int]]:
    started: list[RpcServer] = []

    def predict(request: bytes, _context: grpc.ServicerContext) -> bytes:
        if request == b"busy":
            gate.pass_through()
        return b"predicted"

    def start(limits: RpcLimits | None = None, *, tls: bool = False, **more: Any) -> int:
        port = free_port()
        server = RpcServer([Address(f"[::]:{port}", tls)], limits or RpcLimits(threads=2), **more)
        server.start()
        methods = {PREDICT: predict, RELOAD: predict, STATUS: lambda _request, _context: b"status"}
        server.serve(methods, {STATUS}, {RELOAD})
        started.append(server)
        return port

    yield start
    gate.let_go()
    for server in started:
        server.stop(1.0)


def test_a_metrics_page_that_takes_its_time_holds_nobody_up(
    gate: Gate, each_rest: Callable[..., AnyRest]
) -> None:
    def slow() -> HttpResponse:
        gate.pass_through()
        return HttpResponse(200, b"metrics")

    def broken() -> HttpResponse:
        raise ValueError("no such series")

    server = each_rest(slow_pages={"/metrics": slow, "/broken": broken})
    url = f"http://127.0.0.1:{server.ports[0]}"
    with (
        httpx.Client(base_url=url, trust_env=False, timeout=WAIT) as http,
        ThreadPoolExecutor(1) as pool,
    ):
        scrape = pool.submit(lambda: httpx.get(f"{url}/metrics", trust_env=False))
        assert gate.entered.acquire(timeout=WAIT)
        assert http.get("/livez").text == "ok"
        assert http.post("/v1/anything").text == "{}"
        gate.let_go()
        assert scrape.result(WAIT).text == "metrics"
        answer = http.get("/broken")
        assert answer.status_code == 500
        assert answer.json() == {"error": "ValueError: no such series"}


def test_a_page_waits_for_what_a_client_wants_to_wait_for(rest: Callable[..., RestServer]) -> None:
    happened = threading.Event()
    asked = threading.Event()

    def look() -> bool:
        asked.set()
        return happened.is_set()

    server = rest(awaited={"/livez": look})
    url = f"http://127.0.0.1:{server.ports[0]}"
    with (
        httpx.Client(base_url=url, trust_env=False, timeout=WAIT) as http,
        ThreadPoolExecutor(1) as pool,
    ):
        for query in ("", "?wait=0", "?wait=-1", "?wait=x", "?wait=1e9", "?await=4", "?wait=4x"):
            assert http.get(f"/livez{query}").text == "ok"
        assert not asked.is_set(), "nobody wanted to wait"
        assert http.get("/livez?wait=0.05").text == "ok"
        assert asked.is_set(), "it was waited for in vain"
        asked.clear()
        held = pool.submit(
            lambda: httpx.get(f"{url}/livez?a=b&wait=5", trust_env=False, timeout=WAIT)
        )
        assert asked.wait(WAIT)
        assert http.post("/v1/anything").text == "{}", "it holds nobody else up"
        assert not held.done()
        happened.set()
        assert held.result(WAIT).text == "ok"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for nothing else waits longer than any test."""
    monkeypatch.setattr("slipway_server.frontends.http.server._MAX_HOLD_SECONDS", 600.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("end", ["drains", "breaks"])
def test_nobody_waits_for_what_will_not_happen(rest: Callable[..., RestServer], end: str) -> None:
    asked, over = threading.Event(), threading.Event()

    def look() -> bool:
        asked.set()
        if over.is_set():
            raise ValueError("no such model")
        return False

    server = rest(awaited={"/livez": look})
    url = f"http://127.0.0.1:{server.ports[0]}/livez?wait=600"
    with ThreadPoolExecutor(20) as pool:
        held = [
            pool.submit(lambda: httpx.get(url, trust_env=False, timeout=WAIT)) for _ in range(20)
        ]
        assert asked.wait(WAIT)
        if end == "drains":
            server.drain()
        else:
            over.set()
        assert [one.result(WAIT).text for one in held] == ["ok"] * 20


@pytest.mark.usefixtures("patient")
def test_only_some_pages_are_held(rest: Callable[..., RestServer]) -> None:
    server = rest(awaited={"/livez": lambda: False})
    url = f"http://127.0.0.1:{server.ports[0]}/livez?wait=600"
    with ThreadPoolExecutor(16) as pool:
        waiting = [
            pool.submit(lambda: httpx.get(url, trust_env=False, timeout=WAIT)) for _ in range(16)
        ]
        eventually("as many wait as may", lambda: server._held == 16, WAIT)
        assert httpx.get(url, trust_env=False, timeout=WAIT).text == "ok"
        assert not any(one.done() for one in waiting)
        server.drain()
        assert [one.result(WAIT).text for one in waiting] == ["ok"] * 16


def test_reloads_that_wait_leave_the_threads_to_inference(
    gate: Gate, rpc: Callable[..., int]
) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{rpc(RpcLimits(threads=2))}") as channel:
        reloads = [channel.unary_unary(RELOAD).future(b"busy", timeout=WAIT) for _ in range(4)]
        assert gate.entered.acquire(timeout=WAIT)
        assert channel.unary_unary(PREDICT)(b"", timeout=WAIT) == b"predicted"
        gate.let_go()
        assert [one.result(WAIT) for one in reloads] == [b"predicted"] * 4


def _raw(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT)


def _all_of(client: socket.socket) -> bytes:
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


# ---- overload --------------------------------------------------------------------------------------------------------


def test_rest_refuses_at_once_what_is_too_much(
    each_rest: Callable[..., AnyRest], gate: Gate
) -> None:
    port = each_rest(RestLimits(threads=1, inflight=2)).ports[0]
    busy = [_raw(port) for _ in range(2)]
    for client in busy:
        client.sendall(b"POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert gate.entered.acquire(timeout=WAIT)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        refused = eventually(
            "a refusal", lambda: (a := http.post("/more")).status_code == 503 and a, WAIT
        )
        assert refused.headers["Retry-After"] == "1"
        assert refused.json() == {
            "error": "The server is overloaded: 2 requests are in flight, and --max_inflight_requests allows no more"
        }
        # Questions about state have their own threads, pages need none.
        assert http.get("/v1/models/m").status_code == 200
        assert http.get("/livez").text == "ok"
        gate.let_go()
        for client in busy:
            assert client.recv(15) == b"HTTP/1.1 200 OK"
            client.close()
        eventually("there is room again", lambda: http.post("/more").status_code == 200, WAIT)


def test_a_request_that_timed_out_holds_its_place_until_its_worker_is_free(
    each_rest: Callable[..., AnyRest], gate: Gate
) -> None:
    # Its worker must have begun by then, or there is no place to hold.
    server = each_rest(RestLimits(threads=1, inflight=1, timeout=1.5))
    with httpx.Client(base_url=f"http://127.0.0.1:{server.ports[0]}", trust_env=False) as http:
        assert http.post("/busy").status_code == 504
        assert http.post("/more").status_code == 503
        gate.let_go()
        eventually("the worker is free", lambda: http.post("/more").status_code == 200, WAIT)


def test_grpc_refuses_at_once_what_is_too_much(rpc: Callable[..., int], gate: Gate) -> None:
    port = rpc(RpcLimits(threads=2, inflight=4))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        predict, status = channel.unary_unary(PREDICT), channel.unary_unary(STATUS)
        assert predict(b"", timeout=WAIT) == b"predicted"
        busy = [predict.future(b"busy", timeout=WAIT) for _ in range(2)]
        for _ in range(2):
            assert gate.entered.acquire(timeout=WAIT)
        # Not before: four at once may find three waiting whom no thread has taken yet.
        busy += [predict.future(b"busy", timeout=WAIT) for _ in range(2)]

        def refusal() -> Any:
            try:
                predict(b"", timeout=1.0)
            except grpc.RpcError as error:
                return error.code().name == "UNAVAILABLE" and error
            return None

        refused = eventually("a refusal", refusal, WAIT)
        assert (
            refused.details()
            == "The server is overloaded: 4 requests are in flight, and --max_inflight_requests allows no more"
        )
        # State and health are told all the same.
        assert status(b"", timeout=WAIT) == b"status"
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT).status
        gate.let_go()
        assert [one.result() for one in busy] == [b"predicted"] * 4
        assert predict(b"", timeout=WAIT) == b"predicted"


def test_before_its_methods_are_there_grpc_refuses_without_reading() -> None:
    port = free_port()
    server = RpcServer([Address(f"[::]:{port}")], RpcLimits(threads=1))
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
            for path in (PREDICT, "/inference.GRPCInferenceService/ServerLive", reflection):
                with pytest.raises(grpc.RpcError) as error:
                    channel.unary_unary(path)(b"x" * 3_000_000, timeout=WAIT)
                assert error.value.code().name == "UNAVAILABLE"
                assert "the server is starting" in error.value.details()
            with pytest.raises(grpc.RpcError) as error:
                channel.unary_unary("/another/Method")(b"", timeout=WAIT)
            assert error.value.code().name == "UNIMPLEMENTED"
    finally:
        server.stop(1.0)


def test_a_grpc_message_over_the_limit_is_refused(rpc: Callable[..., int]) -> None:
    port = rpc(RpcLimits(threads=2, message=1000))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        predict = channel.unary_unary(PREDICT)
        assert predict(b"x" * 1000, timeout=WAIT) == b"predicted"
        with pytest.raises(grpc.RpcError) as error:
            predict(b"x" * 1001, timeout=WAIT)
        assert error.value.code().name == "RESOURCE_EXHAUSTED"


def test_a_call_that_is_never_finished_ends_with_its_connection(rpc: Callable[..., int]) -> None:
    port = rpc(RpcLimits(threads=1, age=0.2, age_grace=0.2))
    release = threading.Event()

    def never() -> Iterator[bytes]:
        release.wait(WAIT)
        yield from ()

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stuck = channel.stream_unary(PREDICT).future(never(), timeout=WAIT)
        assert stuck.exception(timeout=WAIT).code().name == "UNAVAILABLE"
        release.set()
        # The one thread is free again.
        assert channel.unary_unary(PREDICT)(b"", timeout=WAIT, wait_for_ready=True) == b"predicted"


# ---- limits of HTTP --------------------------------------------------------------------------------------------------


def test_connections_beyond_the_limit_are_sent_away(each_rest: Callable[..., AnyRest]) -> None:
    server = each_rest(RestLimits(threads=1, connections=2))
    port = server.ports[0]
    first, second = _raw(port), _raw(port)
    eventually("both are there", lambda: server.connections == 2, WAIT)
    with _raw(port) as third:
        assert third.recv(65536).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    first.close()
    second.close()
    eventually("both are gone", lambda: server.connections == 0, WAIT)
    assert httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False).text == "ok"


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HT",
        b"POST / HTTP/1.1\r\nHost: x\r\nA: b\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    ],
    ids=["line", "headers", "body", "chunks"],
)
def test_a_slow_sender_is_ended(each_rest: Callable[..., AnyRest], sent: bytes) -> None:
    limits = ConnectionLimits(head_seconds=0.1, request_seconds=0.1)
    port = each_rest(RestLimits(threads=1, connection=limits)).ports[0]
    with _raw(port) as client:
        client.sendall(sent)
        assert _all_of(client).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2147483648\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200_000, b"431"),
        (b"GET /" + b"a" * 200_000, b"431"),
    ],
    ids=["2 GiB announced", "absurd length", "many headers", "long header", "long target"],
)
def test_what_is_too_large_is_refused_at_once(
    each_rest: Callable[..., AnyRest], sent: bytes, status: bytes
) -> None:
    # A server that waits for the rest waits for longer than the client does.
    limits = ConnectionLimits(head_seconds=10 * WAIT, request_seconds=10 * WAIT)
    port = each_rest(RestLimits(threads=1, connection=limits)).ports[0]
    with _raw(port) as client:
        client.sendall(sent)
        assert client.recv(12) == b"HTTP/1.1 " + status


def test_a_body_in_tiny_chunks_arrives_whole(each_rest: Callable[..., AnyRest]) -> None:
    port = each_rest().ports[0]
    with _raw(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sendall(b"2\r\nab\r\n" * 5000 + b"0\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"


def test_it_listens_on_both_families(each_rest: Callable[..., AnyRest]) -> None:
    port = each_rest().ports[0]
    for host in ("127.0.0.1", "[::1]") if socket.has_ipv6 else ("127.0.0.1",):
        assert httpx.get(f"http://{host}:{port}/livez", trust_env=False).text == "ok"


def test_without_ipv6_it_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """§1."""
    create = socket.create_server

    def without_ipv6(*arguments: Any, **options: Any) -> socket.socket:
        if options.get("family") == socket.AF_INET6:
            raise OSError("Address family not supported by protocol")
        return create(*arguments, **options)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    with listening_socket(0) as listening:
        assert listening.family == socket.AF_INET
        with _raw(listening.getsockname()[1]):
            pass
        with pytest.raises(OSError, match=r"Cannot listen on port \d+ for HTTP: Address family"):
            listening_socket(listening.getsockname()[1])


def test_the_health_port_has_pages_and_nothing_else(each_rest: Callable[..., AnyRest]) -> None:
    ports = each_rest(health_port=0).ports
    assert len(ports) == 2
    with httpx.Client(base_url=f"http://127.0.0.1:{ports[1]}", trust_env=False) as http:
        assert http.get("/livez").text == "ok"
        assert http.get("/v1/models/m").status_code == 404
        assert http.post("/livez").status_code == 404


def test_a_request_id_comes_back(each_rest: Callable[..., AnyRest]) -> None:
    url = f"http://127.0.0.1:{each_rest().ports[0]}/x"
    with httpx.Client(trust_env=False) as http:
        assert http.get(url, headers={"X-Request-Id": "a-1"}).headers["x-request-id"] == "a-1"
        assert "x-request-id" not in http.get(url).headers
        assert "x-request-id" not in http.get(url, headers={"X-Request-Id": "a" * 129}).headers


# ---- TLS -------------------------------------------------------------------------------------------------------------


def test_rest_over_tls_uses_a_new_certificate_for_new_connections(
    rest: Callable[..., RestServer], tmp_path: Path
) -> None:
    certificate = ServedCertificate(tmp_path)
    server = rest(context=certificate.file.context, health_port=0)
    port, health_port = server.ports
    with httpx.Client(
        base_url=f"https://localhost:{port}", verify=certificate.client(), trust_env=False
    ) as http:
        assert http.post("/x").status_code == 200
        assert certificate.shown(port) == certificate.serial
        renewed = certificate.renew()
        assert certificate.shown(port) == renewed != certificate.serial
        assert http.post("/x").status_code == 200  # the open connection goes on
    assert httpx.get(f"http://127.0.0.1:{health_port}/livez", trust_env=False).text == "ok"


def test_a_plain_request_to_the_tls_port_harms_nobody(
    rest: Callable[..., RestServer], tmp_path: Path
) -> None:
    certificate = ServedCertificate(tmp_path)
    port = rest(context=certificate.file.context).ports[0]
    with _raw(port) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in _all_of(client)
    assert certificate.shown(port) == certificate.serial


def test_rest_with_client_certificates(rest: Callable[..., RestServer], tmp_path: Path) -> None:
    certificate = ServedCertificate(tmp_path, verify=True)
    url = f"https://localhost:{rest(context=certificate.file.context).ports[0]}/livez"
    known = certificate.client(certificate.authority.issue("client"))
    assert httpx.get(url, verify=known, trust_env=False).text == "ok"
    stranger = certificate.client(Authority("another").issue("client"))
    for context in (certificate.client(), stranger):
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=context, trust_env=False)
