"""§8: HTTP on one connection, with a transport that remembers what was written."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import weakref
from collections.abc import Callable
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_server.frontends.http.budget import SMALL, BodyBudget
from slipway_server.frontends.http.connection import ConnectionLimits, HttpConnection
from slipway_server.frontends.http.messages import Headers, HttpRequest, HttpResponse


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.reading = True
        self.unsent = 0
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


class Client:
    """A connection whose requests wait until the test answers them."""

    def __init__(
        self,
        limits: ConnectionLimits | None = None,
        *,
        draining: bool = False,
        budget: BodyBudget | None = None,
        headers: Callable[[HttpRequest], Headers] = lambda _request: (),
    ) -> None:
        self.budget = budget or BodyBudget(1 << 30)
        self.requests: list[HttpRequest] = []
        self.transport = Transport()
        self.registered: list[bool] = []
        self.connection = HttpConnection(
            lambda _connection, request: self.requests.append(request),
            limits or ConnectionLimits(),
            lambda: draining,
            lambda _connection, begins: self.registered.append(begins),
            self.budget,
            headers,
        )
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    def answer(self, body: bytes = b"{}", **changes: Any) -> None:
        self.connection.answer(HttpResponse(200, body, **changes))

    @property
    def written(self) -> bytes:
        return self.transport.written


GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Y: z\r\n\r\nhello"
CHUNKED = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


@pytest.mark.parametrize("data", [POST, CHUNKED])
@given(cuts=st.lists(st.integers(1, 60), max_size=6))
def test_a_request_is_the_same_however_its_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    client = Client()
    places = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    for start, end in pairwise(places):
        if start < end:
            client.send(data[start:end])
    [request] = client.requests
    assert (request.method, request.path, request.body) == ("POST", "/p", b"hello")


def test_an_answer_and_the_next_request() -> None:
    client = Client()
    client.send(GET)
    assert client.connection.busy
    client.answer(b'{"a":1}')
    assert (
        client.written
        == b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
    )
    assert not client.connection.busy
    client.send(POST)
    assert [request.path for request in client.requests] == ["/a", "/p"]
    assert client.requests[1].headers[b"x-y"] == b"z"


def test_headers_by_request_are_on_answers_and_refusals() -> None:
    client = Client(
        ConnectionLimits(body=5), headers=lambda request: (("X-Path", request.path.upper()),)
    )
    client.send(GET)
    client.answer(headers=(("X-Own", "1"),))
    assert b"\r\nX-Own: 1\r\nX-Path: /A\r\n" in client.written
    client.send(b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n")
    assert b"HTTP/1.1 413 " in client.written
    assert b"\r\nX-Path: /LARGE\r\nConnection: close" in client.written


def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    client = Client()
    client.send(GET + POST + GET)
    assert len(client.requests) == 1
    assert not client.transport.reading
    client.answer(b"1")
    assert len(client.requests) == 2
    client.answer(b"2")
    client.answer(b"3")
    assert client.written.count(b"HTTP/1.1 200 OK") == 3
    assert client.transport.reading


@pytest.mark.parametrize(
    ("data", "closes"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_who_ends_the_connection(data: bytes, closes: bool) -> None:  # noqa: FBT001
    client = Client()
    client.send(data)
    client.answer()
    assert client.transport.closed is closes
    assert (b"Connection: close" in client.written) is closes


def test_a_draining_server_ends_every_connection_with_its_next_answer() -> None:
    client = Client(draining=True)
    client.send(GET)
    client.answer()
    assert client.transport.closed
    assert b"\r\nConnection: close\r\n" in client.written


def test_a_connection_is_closed_as_idle_only_between_requests() -> None:
    client = Client(draining=False)
    soon = monotonic() + 5
    client.connection.close_idle(monotonic() - 5)
    assert not client.transport.closed, "it has just come and is about to ask"
    client.send(GET[:10])
    client.connection.close_idle(soon)
    assert not client.transport.closed, "a request is arriving"
    client.send(GET[10:])
    client.connection.close_idle(soon)
    assert not client.transport.closed, "a request is worked on"
    client.transport.unsent = 3
    client.answer()
    client.connection.close_idle(soon)
    assert not client.transport.closed, "an answer is on its way"
    client.transport.unsent = 0
    client.connection.close_idle(soon)
    assert client.transport.closed


def test_a_request_that_has_arrived_unread_keeps_its_connection() -> None:
    client = Client()
    connection = client.connection

    async def converse(here: socket.socket, there: socket.socket) -> tuple[bytes, bytes]:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, here)
        there.sendall(GET)
        connection.close_idle(monotonic() + 5)  # before the loop had a turn to read
        await asyncio.sleep(0.05)
        client.answer()
        await asyncio.sleep(0.05)
        answer = there.recv(100)
        connection.close_idle(monotonic() + 5)
        await asyncio.sleep(0.05)
        return answer, there.recv(100)

    here, there = socket.socketpair()
    with there:
        there.settimeout(60)
        answer, end = asyncio.run(converse(here, there))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert end == b""


def test_head_has_no_body() -> None:
    client = Client()
    client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.answer(b"12345")
    assert client.written.endswith(b"Content-Length: 5\r\n\r\n")


def test_expect_continue() -> None:
    client = Client()
    client.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert client.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"hi")
    assert client.requests[0].body == b"hi"


def test_an_offer_to_upgrade_is_declined_by_answering() -> None:
    client = Client()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    client.answer()
    assert client.written.startswith(b"HTTP/1.1 200 OK")
    assert client.transport.closed


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", 413),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n",
            413,
        ),
        (b"GET /" + b"x" * 200 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: 0123456789\r\n" * 20, 431),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
    ],
)
def test_what_is_refused_before_it_is_kept(data: bytes, status: int) -> None:
    client = Client(ConnectionLimits(body=10, head=100))
    client.send(data)
    assert client.requests == []
    assert client.written.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'{"error":' in client.written
    assert client.transport.closed
    client.send(GET)
    assert client.requests == []


def test_a_refusal_waits_for_the_answer_before_it() -> None:
    client = Client()
    client.send(GET + b"nonsense\r\n\r\n")
    assert client.written == b""
    client.answer()
    assert client.written.startswith(b"HTTP/1.1 200 OK")
    assert client.transport.closed


def test_slow_senders_and_idle_connections_are_ended() -> None:
    from time import monotonic

    limits = ConnectionLimits(request_seconds=10, idle_seconds=50)
    slow, idle, busy = Client(limits), Client(limits), Client(limits)
    slow.send(GET[:5])
    busy.send(GET)
    now = monotonic()
    for client, after in ((slow, 9.0), (idle, 49.0)):
        client.connection.sweep(now + after)
        assert not client.transport.closed
        client.connection.sweep(now + after + 2)
        assert client.transport.closed
    assert slow.written.startswith(b"HTTP/1.1 408 ")
    busy.connection.sweep(now + 1000)
    assert not busy.transport.closed


def test_a_client_that_does_not_read_gets_no_further_work_done() -> None:
    client = Client()
    client.send(GET + GET)
    client.connection.pause_writing()
    client.answer()
    assert len(client.requests) == 1
    client.connection.resume_writing()
    assert len(client.requests) == 2


def test_an_answer_for_a_client_that_has_gone_is_thrown_away() -> None:
    client = Client()
    client.send(GET)
    client.connection.connection_lost(None)
    client.answer()
    assert client.written == b""
    assert client.registered == [True, False]


def test_a_half_closed_client_still_gets_its_answer() -> None:
    client = Client()
    client.send(GET)
    assert client.connection.eof_received() is True
    client.answer()
    assert client.written.startswith(b"HTTP/1.1 200 OK")
    assert client.transport.closed


@given(st.binary(max_size=300))
def test_any_bytes_do_no_harm(data: bytes) -> None:
    client = Client(ConnectionLimits(body=50, head=100))
    client.send(data)
    while client.connection.busy and client.requests and not client.transport.closed:
        before = len(client.requests)
        client.answer()
        if len(client.requests) == before:
            break


def test_a_body_in_thousands_of_chunks_arrives_whole() -> None:
    client = Client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    pieces = [f"{number:04d}".encode() for number in range(5000)]
    client.send(b"".join(b"4\r\n" + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n")
    assert client.requests[0].body == b"".join(pieces)


def test_a_client_that_does_not_read_is_cut_off() -> None:
    client = Client(ConnectionLimits(request_seconds=5.0))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.answer(b"x" * 100)
    client.transport.unsent = 100
    client.connection.sweep(monotonic() + 4.0)
    assert not client.transport.aborted
    client.connection.sweep(monotonic() + 6.0)
    assert client.transport.aborted


@pytest.mark.parametrize(
    ("head", "status", "said"),
    [
        (b"GET /livez HTTP/1.1\r\n", 400, "no Host header"),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400, "more than one Host"),
        (b"GET /livez HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400, "more than one Host"),
        (b"GET /livez HTTP/1.1\r\nHost: a, b\r\n", 400, "does not name one host"),
        (b"GET /livez HTTP/1.1\r\nHost: a b\r\n", 400, "does not name one host"),
        (b"GET /livez\r\n", 400, "HTTP/0.9 is not supported"),
        (b"GET /livez\r\nHost: a\r\n", 400, "HTTP/0.9 is not supported"),
        (b"GET /livez HTTP/2.0\r\nHost: a\r\n", 400, "HTTP/2.0 is not supported"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n",
            501,
            "only supported Transfer-Encoding is chunked",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            501,
            "only supported Transfer-Encoding is chunked",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            400,
            "Transfer-Encoding",
        ),
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
            400,
            "HTTP/1.0 has no Transfer-Encoding",
        ),
    ],
)
def test_heads_that_two_servers_could_read_differently_are_refused(
    head: bytes, status: int, said: str
) -> None:
    client = Client()
    client.send(head + b"\r\n0\r\n\r\n" + GET)
    assert client.requests == []
    assert client.written.startswith(f"HTTP/1.1 {status} ".encode())
    assert client.written.count(b"Content-Length: ") == 1
    assert said.encode() in client.written
    assert client.transport.closed


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost:\r\n",
        b"GET / HTTP/1.1\r\nhOST: [::1]:8501\r\n",
        b"GET / HTTP/1.0\r\n",
        b"POST / HTTP/1.1\r\nHost: a_b:1\r\nTransfer-Encoding:  Chunked \r\n",
    ],
)
def test_heads_that_look_like_those_and_are_right(head: bytes) -> None:
    client = Client()
    client.send(head + (b"\r\n0\r\n\r\n" if b"unked" in head else b"\r\n"))
    assert len(client.requests) == 1


# ---- bodies of all connections ---------------------------------------------------------------------------------------

LARGE = 4 * SMALL


def upload(size: int) -> bytes:
    return f"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()


def test_unfinished_bodies_stop_at_the_budget_and_are_all_answered_in_the_end() -> None:
    budget = BodyBudget(LARGE)
    clients = [Client(budget=budget) for _ in range(8)]
    sent = [0] * len(clients)
    piece = bytes(SMALL)
    for client in clients:
        client.send(upload(LARGE))

    def everybody_sends() -> None:
        for number, client in enumerate(clients):
            while client.transport.reading and sent[number] < LARGE:
                client.send(piece)
                sent[number] += SMALL

    everybody_sends()
    # The first small part of each body is free, and a piece that is on its way cannot be held up.
    assert sum(sent) <= 2 * LARGE + 2 * SMALL * len(clients)
    assert sum(len(client.requests) for client in clients) < len(clients)
    for _ in clients:
        for client in clients:
            if client.connection._current is not None:
                client.answer()
        everybody_sends()
    for client in clients:
        if client.connection._current is not None:
            client.answer()
    assert [len(client.requests) for client in clients] == [1] * len(clients)
    assert all(client.written.startswith(b"HTTP/1.1 200 OK") for client in clients)
    assert budget.held == 0


def test_small_bodies_are_never_held_up() -> None:
    budget = BodyBudget(LARGE)
    large, small = Client(budget=budget), Client(budget=budget)
    large.send(upload(4 * LARGE) + bytes(2 * LARGE))
    small.send(upload(SMALL) + bytes(SMALL - 1))
    assert small.transport.reading
    small.send(b"x")
    small.answer()
    assert small.written.startswith(b"HTTP/1.1 200 OK")
    assert small.transport.reading


@pytest.mark.parametrize("how", ["lost", "refused", "too slow", "closed"])
def test_a_body_that_ends_otherwise_is_not_counted_any_more(how: str) -> None:
    budget = BodyBudget(1 << 30)
    client = Client(budget=budget)
    if how == "closed":
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    client.send(CHUNKED[: CHUNKED.index(b"\r\n\r\n") + 4] + b"40000\r\n" + bytes(0x40000))
    match how:
        case "lost":
            assert budget.held == 0x40000
            client.connection.connection_lost(None)
        case "refused":
            client.send(b"\r\nnonsense\r\n")
            assert client.written.startswith(b"HTTP/1.1 400 ")
        case "too slow":
            client.connection.give_way()
            assert client.written.startswith(b"HTTP/1.1 408 ")
        case _:
            client.answer()
    assert budget.held == 0


def test_what_a_worker_still_has_is_counted_although_its_client_was_told_of_a_timeout() -> None:
    budget = BodyBudget(1 << 30)
    client = Client(budget=budget)
    client.send(upload(LARGE) + bytes(LARGE))
    [request] = client.requests
    request.working = True
    client.answer(close=True)
    assert budget.held == LARGE
    request.working = False
    request.release()
    request.release()
    assert budget.held == 0


def test_an_idle_connection_keeps_nothing_of_its_last_request() -> None:
    client = Client()
    client.send(upload(LARGE) + bytes(LARGE))
    body = client.requests.pop().body
    client.answer()
    assert sys.getrefcount(body) == 2, "this test's own, and that of the call"


@pytest.mark.parametrize("data", [b"", GET, GET[:9], upload(9) + b"half", b"nonsense\r\n\r\n"])
def test_a_connection_that_is_lost_is_gone_without_the_garbage_collector(data: bytes) -> None:
    connection = HttpConnection(
        lambda _connection, _request: None,
        ConnectionLimits(),
        lambda: False,
        lambda _connection, _begins: None,
        BodyBudget(1 << 30),
    )
    connection.connection_made(Transport())
    if data:
        connection.data_received(data)
    gone = weakref.ref(connection)
    gc.disable()
    try:
        connection.connection_lost(None)
        del connection
        assert gone() is None
    finally:
        gc.enable()


def test_a_connection_that_was_held_at_the_end_of_its_body_reads_on_after_the_answer() -> None:
    budget = BodyBudget(LARGE)
    first, second = Client(budget=budget), Client(budget=budget)
    body = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LARGE + bytes(LARGE)
    first.send(body)
    second.send(body)
    assert not second.transport.reading
    first.answer()
    second.answer()
    assert budget.held == 0
    assert second.transport.reading
    second.send(GET)
    assert [one.method for one in second.requests] == ["POST", "GET"]


def test_a_client_that_reads_no_answers_is_not_read_from() -> None:
    client = Client()
    client.connection.pause_writing()
    client.send(POST)
    assert (client.requests, client.transport.reading) == ([], False)
    client.connection.resume_writing()
    assert len(client.requests) == 1
    assert client.transport.reading
