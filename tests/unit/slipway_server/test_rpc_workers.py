"""The executor under gRPC's server: real calls over a socket, and what ends them early."""

from __future__ import annotations

import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from grpc import _server  # type: ignore[attr-defined]

from slipway_server.frontends.rpc import workers
from slipway_server.frontends.rpc.workers import READS_AHEAD, RpcWorkers, known

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


@pytest.fixture(params=[True, False], ids=["read ahead", "gRPC's own way"])
def pool(request: pytest.FixtureRequest) -> RpcWorkers:
    return RpcWorkers(2, read_ahead=request.param)


def test_the_installed_grpc_is_known() -> None:
    assert READS_AHEAD


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
    other = types.SimpleNamespace(**vars(_server))
    assert known(other)
    vars(other).update(change)
    assert not known(other)


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


def test_a_call_without_a_message_is_refused(pool: RpcWorkers) -> None:
    with serving(lambda request, _context: request, pool) as (channel, _):
        with pytest.raises(grpc.RpcError) as error:
            channel.stream_unary("/a/B")(iter(()), timeout=TIMEOUT)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
        assert "requires exactly one request message" in error.value.details()  # type: ignore[attr-defined]
        assert channel.unary_unary("/a/B")(b"x", timeout=TIMEOUT) == b"x"
        assert pool.waiting == 0


def test_a_client_that_sends_nothing_keeps_no_thread() -> None:
    pool = RpcWorkers(1, read_ahead=True)
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


def test_calls_that_send_nothing_are_ended_when_they_are_old() -> None:
    now = [100.0]
    pool = RpcWorkers(1, read_ahead=True, clock=lambda: now[0])
    with serving(lambda request, _context: request, pool) as (channel, _):
        end, asked = threading.Event(), threading.Semaphore(0)
        ask = workers._Exchange.ask

        def nothing_yet() -> Iterator[bytes]:
            end.wait(TIMEOUT)
            return
            yield b""

        def noticed(self: workers._Exchange) -> None:
            ask(self)
            asked.release()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workers._Exchange, "ask", noticed)
            old = channel.stream_unary("/a/B").future(nothing_yet())
            assert asked.acquire(timeout=TIMEOUT)
            now[0] += 20
            young = channel.stream_unary("/a/B").future(nothing_yet())
            assert asked.acquire(timeout=TIMEOUT)
        now[0] += 20
        assert pool.waiting == 2
        pool.end_slow()
        with pytest.raises(grpc.RpcError):
            old.result(TIMEOUT)
        assert not young.done()
        young.cancel()
        end.set()


def test_what_was_cancelled_while_it_waited_is_not_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = RpcWorkers(1, read_ahead=True)
    entered, leave, seen = threading.Event(), threading.Event(), []
    states: list[Any] = []

    class Seen(workers._Exchange):
        def ask(self) -> None:
            states.append(self._state)
            super().ask()

    monkeypatch.setattr(workers, "_Exchange", Seen)

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


def test_requests_beyond_what_may_be_held_wait_unread_and_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "_MAX_HELD", 2)
    pool = RpcWorkers(1, read_ahead=True)
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
    pool = RpcWorkers(3)
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
