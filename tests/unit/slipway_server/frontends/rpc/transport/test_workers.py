"""The executor under gRPC's server: real calls over a socket, and what ends them early."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slipway_server.frontends.rpc.transport import grpc_internals, workers
from slipway_server.frontends.rpc.transport import server as rpc_server
from slipway_server.frontends.rpc.transport.limits import RpcLimits
from slipway_server.frontends.rpc.transport.server import Address, RpcServer
from slipway_server.frontends.rpc.transport.workers import ReadAheadWorkers, RpcWorkers

TIMEOUT = 20.0
Behavior = Callable[[bytes, grpc.ServicerContext], bytes]


@contextmanager
def serving(behavior: Behavior, pool: RpcWorkers) -> Iterator[tuple[grpc.Channel, grpc.Server]]:
    class Handlers(grpc.GenericRpcHandler):
        def service(self, _details: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_unary_rpc_method_handler(behavior)

    server = grpc.server(pool)  # type: ignore[arg-type]
    server.add_generic_rpc_handlers((Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel, server
    finally:
        server.stop(0).wait()


@pytest.fixture(params=[ReadAheadWorkers, RpcWorkers], ids=["read ahead", "gRPC's own way"])
def pool(request: pytest.FixtureRequest) -> RpcWorkers:
    workers: RpcWorkers = request.param(2)
    return workers


def test_the_installed_grpc_is_known() -> None:
    assert grpc_internals.AVAILABLE
    assert isinstance(workers.rpc_workers(1), ReadAheadWorkers)


@pytest.mark.parametrize(
    "change",
    [
        {"_status": lambda rpc_event, state: (rpc_event, state)},
        {"_abort": None},
        {"_RPCState": object},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_grpc_is_not_leaned_on(change: dict[str, Any]) -> None:
    other = types.SimpleNamespace(**vars(grpc_internals._server))
    assert grpc_internals.matches(other, grpc_internals._cygrpc)
    vars(other).update(change)
    assert not grpc_internals.matches(other, grpc_internals._cygrpc)


def test_a_grpc_without_these_modules_is_not_leaned_on() -> None:
    assert not grpc_internals.matches(None, None)
    assert not grpc_internals.matches(grpc_internals._server, None)
    assert grpc_internals._module("grpc._no_such_module") is None


def test_with_another_grpc_an_ordinary_thread_pool_answers_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grpc_internals, "AVAILABLE", False)
    # Nothing private may be touched then.
    monkeypatch.setattr(grpc_internals, "_server", None)
    monkeypatch.setattr(grpc_internals, "_cygrpc", None)
    with rpc_port(tmp_path, RpcLimits(threads=1)) as (channel, server):
        futures = [channel.unary_unary("/a/B").future(b"%d" % number) for number in range(20)]
        assert [one.result(TIMEOUT) for one in futures] == [b"%d" % n for n in range(20)]
        assert channel.unary_unary("/a/Question")(b"x", timeout=TIMEOUT) == b"x"
        checked = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[no-untyped-call]
            health_pb2.HealthCheckRequest(service=""), timeout=TIMEOUT
        )
        assert checked.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert type(server._pool) is RpcWorkers
        assert server.waiting == 0
    warnings = [one.getMessage() for one in caplog.records if one.name == workers.__name__]
    assert len(warnings) == 1
    assert "ordinary thread pool" in warnings[0]


def test_the_ordinary_thread_pool_refuses_what_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_internals, "AVAILABLE", False)
    entered, leave = threading.Event(), threading.Event()

    def slowly(request: bytes, _context: grpc.ServicerContext) -> bytes:
        entered.set()
        leave.wait(TIMEOUT)
        return request

    with rpc_port(tmp_path, RpcLimits(threads=1, inflight=3)) as (channel, server):
        server.serve({"/a/Slow": slowly})
        call = channel.unary_unary("/a/Slow")
        held = [call.future(b"0")]
        assert entered.wait(TIMEOUT)
        held += [call.future(b"1"), call.future(b"2")]
        until(lambda: server.waiting == 2)
        with pytest.raises(grpc.RpcError) as error:
            call(b"3", timeout=TIMEOUT)
        assert "overloaded" in error.value.details()  # type: ignore[attr-defined]
        leave.set()
        assert [one.result(TIMEOUT) for one in held] == [b"0", b"1", b"2"]


def test_answers(pool: RpcWorkers) -> None:
    with serving(lambda request, _context: request[::-1], pool) as (channel, _):
        call = channel.unary_unary("/a/B")
        futures = [call.future(b"%d" % number * 3) for number in range(100)]
        assert [one.result(TIMEOUT) for one in futures] == [
            (b"%d" % number * 3)[::-1] for number in range(100)
        ]
        assert call(b"", timeout=TIMEOUT) == b""


def test_tells_the_status_that_a_method_aborts_with(pool: RpcWorkers) -> None:
    def refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    with serving(refuse, pool) as (channel, _), pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/a/B")(b"x", timeout=TIMEOUT)
    assert (error.value.code(), error.value.details()) == (  # type: ignore[attr-defined]
        grpc.StatusCode.NOT_FOUND,
        "no such thing",
    )


def test_an_exception_is_unknown_to_the_client_and_the_threads_go_on(pool: RpcWorkers) -> None:
    def fail(request: bytes, _context: grpc.ServicerContext) -> bytes:
        if request == b"bad":
            raise RuntimeError("broken")
        return request

    with serving(fail, pool) as (channel, _):
        call = channel.unary_unary("/a/B")
        for _ in range(5):
            with pytest.raises(grpc.RpcError) as error:
                call(b"bad", timeout=TIMEOUT)
            assert error.value.code() is grpc.StatusCode.UNKNOWN  # type: ignore[attr-defined]
            assert "broken" in error.value.details()  # type: ignore[attr-defined]
        assert call(b"good", timeout=TIMEOUT) == b"good"


class Ballast:
    """Something that a request's frames hold."""


def test_a_call_that_fails_is_gone_without_the_garbage_collector(pool: RpcWorkers) -> None:
    held: list[weakref.ref[Ballast]] = []

    def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
        ballast = Ballast()
        held.append(weakref.ref(ballast))
        if request == b"abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        if request == b"raise":
            raise RuntimeError("broken")
        return request

    logging.disable()  # pytest keeps every record, and with it the error
    gc.disable()
    try:
        with serving(fail, pool) as (channel, _):
            call = channel.unary_unary("/a/B")
            for message in (b"abort", b"raise", b"answer") * 3:
                with contextlib.suppress(grpc.RpcError):
                    call(message, timeout=TIMEOUT)
            assert len(held) == 9
            until(lambda: not any(one() for one in held))
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()


def test_a_thread_that_waits_keeps_nothing_of_its_last_task() -> None:
    pool = ReadAheadWorkers(1)
    ballast = Ballast()
    gone = weakref.ref(ballast)

    def task(ballast: Ballast) -> None:
        del ballast
        raise RuntimeError("broken")

    gc.disable()
    try:
        future = pool.submit(task, ballast)
        assert isinstance(future.exception(TIMEOUT), RuntimeError)
        del ballast, future
        until(lambda: gone() is None)
    finally:
        gc.enable()


def test_a_call_without_a_message_is_refused(pool: RpcWorkers) -> None:
    with serving(lambda request, _context: request, pool) as (channel, _):
        with pytest.raises(grpc.RpcError) as error:
            channel.stream_unary("/a/B")(iter(()), timeout=TIMEOUT)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
        assert "requires exactly one request message" in error.value.details()  # type: ignore[attr-defined]
        assert channel.unary_unary("/a/B")(b"x", timeout=TIMEOUT) == b"x"
        assert pool.waiting == 0


def test_a_client_that_sends_nothing_keeps_no_thread() -> None:
    pool = ReadAheadWorkers(1)
    with serving(lambda request, _context: request, pool) as (channel, _):
        end = threading.Event()

        def nothing_yet() -> Iterator[bytes]:
            end.wait(TIMEOUT)
            return
            yield b""

        slow = [channel.stream_unary("/a/B").future(nothing_yet()) for _ in range(3)]
        assert channel.unary_unary("/a/B")(b"x", timeout=TIMEOUT) == b"x"
        for one in slow:
            one.cancel()
        end.set()


class Unfinished:
    """Calls that are begun and whose message never comes."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._end = threading.Event()
        self.calls: list[Any] = []

    def begin(self, path: str, count: int) -> None:
        self.calls += [
            self._channel.stream_unary(path).future(self._nothing()) for _ in range(count)
        ]

    def _nothing(self) -> Iterator[bytes]:
        self._end.wait(TIMEOUT)
        return
        yield b""

    def end(self) -> None:
        self._end.set()
        for call in self.calls:
            call.cancel()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@contextmanager
def rpc_port(tmp_path: Path, limits: RpcLimits) -> Iterator[tuple[grpc.Channel, RpcServer]]:
    address = f"unix:{tmp_path}/socket"
    server = RpcServer([Address(address)], limits, {"/a/Question": lambda request, _: request})
    server.serve({"/a/B": lambda request, _context: request})
    server.start()
    try:
        with grpc.insecure_channel(address) as channel:
            yield channel, server
    finally:
        server.stop(0)


@pytest.mark.parametrize("path", ["/a/B", "/a/Question", "/grpc.health.v1.Health/Check"])
def test_any_number_of_half_sent_calls_leaves_the_threads_to_others(
    tmp_path: Path, path: str
) -> None:
    with rpc_port(tmp_path, RpcLimits(threads=1)) as (channel, _):
        unfinished = Unfinished(channel)
        unfinished.begin(path, 100)  # more than are read while all threads work
        assert channel.unary_unary("/a/B")(b"x", timeout=TIMEOUT) == b"x"
        assert channel.unary_unary("/a/Question")(b"x", timeout=TIMEOUT) == b"x"
        checked = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[no-untyped-call]
            health_pb2.HealthCheckRequest(service=""), timeout=TIMEOUT
        )
        assert checked.status == health_pb2.HealthCheckResponse.NOT_SERVING
        unfinished.end()


def test_half_sent_calls_give_way_when_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def clocked(size: int, name: str = "rpc", **_options: Any) -> RpcWorkers:
        return ReadAheadWorkers(size, name, clock=lambda: now[0])

    monkeypatch.setattr(rpc_server, "rpc_workers", clocked)
    with rpc_port(tmp_path, RpcLimits(threads=1, inflight=11)) as (channel, server):
        unfinished = Unfinished(channel)
        unfinished.begin("/a/B", 10)
        until(lambda: server.waiting == 10)
        call = channel.unary_unary("/a/B")
        with pytest.raises(grpc.RpcError) as error:
            call(b"x", timeout=TIMEOUT)
        assert "overloaded" in error.value.details()  # type: ignore[attr-defined]
        now[0] = 11.0
        assert call(b"x", timeout=TIMEOUT) == b"x"
        for one in unfinished.calls:
            with pytest.raises(grpc.RpcError) as error:
                one.result(TIMEOUT)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
            assert "Timed out receiving the request" in error.value.details()  # type: ignore[attr-defined]
        until(lambda: server.waiting == 0)
        unfinished.end()


def test_half_sent_calls_among_those_unread_keep_nobody_waiting() -> None:
    pool = ReadAheadWorkers(1, held=2)
    leave = threading.Event()

    def slowly(request: bytes, _context: grpc.ServicerContext) -> bytes:
        leave.wait(TIMEOUT)
        return request

    with serving(slowly, pool) as (channel, _):
        call = channel.unary_unary("/a/B")
        first = [call.future(b"%d" % number) for number in range(5)]
        until(lambda: pool.waiting == 4 and not pool._arriving)
        unfinished = Unfinished(channel)
        unfinished.begin("/a/B", 20)
        until(lambda: pool.waiting == 24)
        last = call.future(b"last")
        until(lambda: pool.waiting == 25)
        assert len(pool._unread) > 20
        leave.set()
        assert last.result(TIMEOUT) == b"last"
        assert [one.result(TIMEOUT) for one in first] == [b"%d" % number for number in range(5)]
        unfinished.end()
        until(lambda: pool.waiting == 0)


@pytest.mark.parametrize("kind", [ReadAheadWorkers, RpcWorkers])
def test_a_thread_that_cannot_be_started_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: type[RpcWorkers]
) -> None:
    pool = kind(3)
    with serving(lambda request, _context: request, pool) as (channel, _):
        call = channel.unary_unary("/a/B")
        assert call(b"a", timeout=TIMEOUT) == b"a"

        def refuse(self: threading.Thread) -> None:
            if self.name.startswith("rpc"):
                raise RuntimeError("can't start new thread")
            start(self)

        start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", refuse)
        futures = [call.future(b"%d" % number) for number in range(20)]
        assert [one.result(TIMEOUT) for one in futures] == [b"%d" % n for n in range(20)]


def test_what_was_cancelled_while_it_waited_is_not_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = ReadAheadWorkers(1)
    entered, leave, seen = threading.Event(), threading.Event(), []
    states: list[Any] = []

    class Seen(grpc_internals.UnaryCall):
        def receive(self) -> bool:
            states.append(self._state)
            return super().receive()

    monkeypatch.setattr(workers, "UnaryCall", Seen)

    def slowly(request: bytes, _context: grpc.ServicerContext) -> bytes:
        seen.append(request)
        entered.set()
        leave.wait(TIMEOUT)
        return request

    with serving(slowly, pool) as (channel, _):
        call = channel.unary_unary("/a/B")
        first = call.future(b"first")
        assert entered.wait(TIMEOUT)
        with pytest.raises(grpc.RpcError) as error:
            call(b"late", timeout=0.2)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
        late = states[1]
        with late.condition:
            assert late.condition.wait_for(lambda: late.client == "cancelled", TIMEOUT)
        last = call.future(b"last")
        leave.set()
        assert first.result(TIMEOUT) == b"first"
        assert last.result(TIMEOUT) == b"last"
    assert seen == [b"first", b"last"]


def test_requests_beyond_what_may_be_held_wait_unread_and_are_answered() -> None:
    pool = ReadAheadWorkers(1, held=2)
    leave, most = threading.Event(), []

    def slowly(request: bytes, _context: grpc.ServicerContext) -> bytes:
        leave.wait(TIMEOUT)
        most.append(pool.waiting)
        return request

    with serving(slowly, pool) as (channel, _):
        futures = [channel.unary_unary("/a/B").future(b"%d" % number) for number in range(20)]
        leave.set()
        assert [one.result(TIMEOUT) for one in futures] == [b"%d" % n for n in range(20)]
        assert pool.waiting == 0


def test_stopping_waits_for_the_calls_in_flight(pool: RpcWorkers) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slowly(request: bytes, _context: grpc.ServicerContext) -> bytes:
        entered.set()
        leave.wait(TIMEOUT)
        return request

    with serving(slowly, pool) as (channel, server):
        future = channel.unary_unary("/a/B").future(b"x")
        assert entered.wait(TIMEOUT)
        stopped = server.stop(TIMEOUT)
        assert not stopped.is_set()
        leave.set()
        assert future.result(TIMEOUT) == b"x"
        assert stopped.wait(TIMEOUT)


def test_threads_are_started_as_they_are_needed() -> None:
    pool = ReadAheadWorkers(3)
    leave = threading.Event()
    seen: set[str] = set()

    def task() -> None:
        seen.add(threading.current_thread().name)
        assert leave.wait(TIMEOUT)

    def wait_for(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.001)

    leave.set()
    for _ in range(5):
        pool.submit(task).result(TIMEOUT)
        # A thread says that it is free after the result is there.
        wait_for(lambda: bool(pool._free))
    assert len(seen) == 1
    leave.clear()
    held = [pool.submit(task) for _ in range(4)]
    wait_for(lambda: len(seen) == 3 and pool.waiting == 1)
    leave.set()
    for one in held:
        one.result(TIMEOUT)
    assert seen == {"rpc-0", "rpc-1", "rpc-2"}
