"""The direct way to the content of objects: exactly the listed bytes, or nothing but a shorter way to `stream`."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path

import pytest

from fake_s3 import Asked, FakeS3, Fault
from local_stores import LOOPBACK, local_options
from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.fetch.zero_copy import FileSink
from slipway_sync.agent.volume.filesystem import FileSystem
from slipway_sync.agent.volume.staging import StagingDirectory
from slipway_sync.exports import ObjectInfo
from slipway_sync.stores import ObjectStore, Patience, open_store
from slipway_sync.stores.backends.zero_copy import RangeTransfer, ZeroCopy
from slipway_sync.stores.egress.proxy import shared

CONTENT = bytes(range(256)) * 4000  # 1 MB: more than any buffer on the way
ETAG = "0123abcd"
PATIENCE = Patience(stall=5.0)


def info(size: int = len(CONTENT), etag: str = ETAG) -> ObjectInfo:
    return ObjectInfo("weights", size, etag, datetime(2024, 1, 1, tzinfo=UTC))


def head(
    start: int,
    length: int,
    *more: str,
    status: str = "206 Partial Content",
    size: int = len(CONTENT),
    etag: str = ETAG,
) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f'ETag: "{etag}"',
        f"Content-Range: bytes {start}-{start + length - 1}/{size}",
        f"Content-Length: {length}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class Server:
    """Answers the requests of all connections with what it was given, one after the other, word for word.

    An answer of None closes the connection instead; after the last it is silent.
    """

    answers: list[bytes | None]
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    silent: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def up(self) -> Iterator[str]:
        open_ones: list[socket.socket] = []

        def serve(listener: socket.socket) -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                open_ones.append(client)
                self.connections += 1
                with client:
                    self._answer(client)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            for one in (listener, *open_ones):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        thread.join()

    def _answer(self, client: socket.socket) -> None:
        while (request := _request(client)) is not None:
            self.requests.append(request)
            if not self.answers:
                self.silent.set()
                continue
            answer = self.answers.pop(0)
            if answer is None:
                return
            try:
                client.sendall(answer)
            except OSError:
                return
            if b"Connection: close" in answer:
                return


def _request(client: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            chunk = client.recv(65536)
        except OSError:
            return None
        if not chunk:
            return None
        data += chunk
    return data


@dataclass
class Target:
    """A file and what was told of it."""

    partial: StagingDirectory
    descriptor: int
    clock: Callable[[], float]
    moved: list[int] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.partial.files / "weights"

    def sink(self) -> FileSink:
        return FileSink(self.partial, self.descriptor, "weights", self.moved.append, self.clock)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    partial = StagingDirectory(tmp_path, FileSystem(), lambda: 0.0, kept=False)
    partial.files.mkdir()
    descriptor = partial.create("weights")
    yield Target(partial, descriptor, lambda: 0.0)
    os.close(descriptor)


def zero_copy(
    url: str, patience: Patience = PATIENCE, clock: Callable[[], float] = lambda: 0.0
) -> ZeroCopy:
    passed = shared().issue_token(LOOPBACK)
    return ZeroCopy(
        lambda key: f"{url}/models/{key}?signed=yes",
        lambda host, port: shared().connect(passed, host, port),
        patience,
        clock=clock,
    )


def pour(direct: ZeroCopy, target: Target, start: int = 0, length: int = len(CONTENT)) -> int:
    range_transfer = RangeTransfer(
        direct, "weights", info(), target.sink(), start=start, length=length
    )
    range_transfer.run()
    return range_transfer.position - start


def test_a_range_comes_into_its_place_and_nothing_beside_it(target: Target) -> None:
    start, length = 1000, 700_000
    server = Server([head(start, length) + CONTENT[start : start + length]])
    with server.up() as url:
        assert pour(zero_copy(url), target, start, length) == length
    assert target.path.read_bytes() == bytes(start) + CONTENT[start : start + length]
    (request,) = server.requests
    lines = request.decode().split("\r\n")
    assert lines[0] == "GET /models/weights?signed=yes HTTP/1.1"
    assert f"Host: {url.removeprefix('http://')}" in lines
    assert f"Range: bytes={start}-{start + length - 1}" in lines
    assert f'If-Match: "{ETAG}"' in lines


def test_one_connection_serves_many_ranges(target: Target) -> None:
    half = len(CONTENT) // 2
    server = Server(
        [head(0, half) + CONTENT[:half], head(half, half) + CONTENT[half:]],
    )
    with server.up() as url:
        direct = zero_copy(url)
        assert pour(direct, target, 0, half) == half
        assert pour(direct, target, half, half) == half
        direct.close()
    assert target.path.read_bytes() == CONTENT
    assert server.connections == 1


def test_a_server_that_closes_after_each_answer_is_connected_to_again(target: Target) -> None:
    answer = head(0, len(CONTENT), "Connection: close") + CONTENT
    server = Server([answer, answer])
    with server.up() as url:
        direct = zero_copy(url)
        for _ in range(2):
            assert pour(direct, target) == len(CONTENT)
    assert target.path.read_bytes() == CONTENT
    assert server.connections == 2


def test_an_idle_connection_that_was_closed_is_no_failure(target: Target) -> None:
    answer = head(0, len(CONTENT)) + CONTENT
    server = Server([answer, None, answer])
    with server.up() as url:
        direct = zero_copy(url)
        assert pour(direct, target) == len(CONTENT)
        assert pour(direct, target) == len(CONTENT)
        direct.close()
    assert server.connections == 2
    assert len(server.requests) == 3


N = len(CONTENT)
REFUSED: dict[str, tuple[bytes, bool]] = {
    # What comes instead, and whether the way is given up at once.
    "no range": (
        b'HTTP/1.1 200 OK\r\nETag: "%s"\r\nContent-Length: %d\r\n\r\n' % (ETAG.encode(), N),
        True,
    ),
    "another status": (head(0, N, status="203 Changed on the way"), True),
    "another object by its tag": (head(0, N, etag="other"), True),
    "another object by its size": (head(0, N, size=N + 1), True),
    "another range": (head(1, N), True),
    "a shorter range": (head(0, N - 1), True),
    "more than was asked for": (
        head(0, N).replace(b"%d\r\n\r\n" % N, b"%d\r\n\r\n" % (N + 4)),
        True,
    ),
    "an unknown length": (head(0, N).replace(b"Content-Length", b"X-Length"), True),
    "chunks": (head(0, N, "Transfer-Encoding: chunked"), True),
    "another coding": (head(0, N, "Content-Encoding: gzip"), True),
    "a redirect": (
        b"HTTP/1.1 307 Elsewhere\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
        True,
    ),
    "forbidden": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", True),
    "replaced": (b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n", True),
    "busy": (b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", False),
    "no HTTP": (b"SSH-2.0-nonsense\r\n\r\n", False),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_answer_brings_nothing(name: str, target: Target) -> None:
    answer, given_up = REFUSED[name]
    server = Server([answer + CONTENT])
    with server.up() as url:
        direct = zero_copy(url)
        assert pour(direct, target) == 0
        assert direct.open is not given_up
    assert target.path.read_bytes() == b""
    assert server.connections == 1


def test_a_body_that_breaks_off_brings_what_came(target: Target) -> None:
    answer = head(0, N, "Connection: close") + CONTENT[:500_000]
    with Server([answer]).up() as url:
        assert pour(zero_copy(url), target) == 500_000
    assert target.path.read_bytes() == CONTENT[:500_000]


def test_an_answer_that_is_shorter_than_it_says_brings_what_it_has(target: Target) -> None:
    short = head(0, N).replace(b"Content-Length: %d" % N, b"Content-Length: 70000")
    server = Server([short + CONTENT[:70_000]])
    with server.up() as url:
        assert pour(zero_copy(url), target) == 70_000
    assert target.path.read_bytes() == CONTENT[:70_000]


def test_three_failures_in_a_row_give_the_way_up_and_a_success_forgives(target: Target) -> None:
    busy = REFUSED["busy"][0]
    right = head(0, N) + CONTENT
    with Server([busy, busy, right, busy, busy, busy]).up() as url:
        direct = zero_copy(url)
        brought = [pour(direct, target) for _ in range(5)]
        assert brought == [0, 0, N, 0, 0]
        assert direct.open
        assert pour(direct, target) == 0
        assert not direct.open


def test_a_silent_server_is_left_after_a_while(target: Target) -> None:
    server = Server([head(0, N) + CONTENT[:100_000]])
    with server.up() as url:
        assert pour(zero_copy(url, Patience(stall=0.2)), target) == 100_000
    assert target.path.read_bytes() == CONTENT[:100_000]


def test_cancelled_it_returns_at_once(target: Target) -> None:
    server = Server([])
    with server.up() as url:
        range_transfer = RangeTransfer(
            zero_copy(url), "weights", info(), target.sink(), start=0, length=N
        )
        thread = threading.Thread(target=range_transfer.run)
        thread.start()
        assert server.silent.wait(10)
        range_transfer.cancel()
        thread.join(3)  # PATIENCE is longer.
        assert not thread.is_alive()
    assert range_transfer.position == 0


def test_cancelled_before_it_began_it_asks_nothing(target: Target) -> None:
    server = Server([head(0, N) + CONTENT])
    with server.up() as url:
        range_transfer = RangeTransfer(
            zero_copy(url), "weights", info(), target.sink(), start=0, length=N
        )
        range_transfer.cancel()
        range_transfer.run()
    assert range_transfer.position == 0
    assert server.requests == []


def test_a_trickle_ends_with_the_time_for_one_request(target: Target) -> None:
    now = chain([0.0], repeat(301.0))
    server = Server([head(0, N) + CONTENT])
    with server.up() as url:
        direct = zero_copy(url, clock=lambda: next(now))
        assert pour(direct, target) < N


class FullSink:
    """A volume without room."""

    def write(self, _data: memoryview, _at: int) -> None:
        raise RuntimeError("full")

    def take(self, _pipe: int, _count: int, _at: int) -> int:
        raise RuntimeError("full")


def test_what_the_file_says_is_not_taken_for_trouble_on_the_line() -> None:
    with Server([head(0, N) + CONTENT]).up() as url:
        direct = zero_copy(url)
        with pytest.raises(RuntimeError, match="full"):
            RangeTransfer(direct, "weights", info(), FullSink(), start=0, length=N).run()


def test_an_address_that_may_not_be_reached_is_not(target: Target) -> None:
    direct = zero_copy("http://169.254.169.254")
    assert pour(direct, target) == 0
    assert target.path.read_bytes() == b""


@pytest.mark.parametrize("spliced", [True, False])
def test_a_file_system_without_splice_gets_the_bytes_all_the_same(
    target: Target, monkeypatch: pytest.MonkeyPatch, *, spliced: bool
) -> None:
    real = os.splice
    refused: list[int] = []

    def splice(source: int, to: int, count: int, **options: int) -> int:
        if to == target.descriptor and not spliced:
            refused.append(count)
            raise OSError(22, "Invalid argument")
        return real(source, to, count, **options)

    monkeypatch.setattr(os, "splice", splice)
    with Server([head(0, N) + CONTENT]).up() as url:
        assert pour(zero_copy(url), target) == N
    assert target.path.read_bytes() == CONTENT
    assert len(refused) == (0 if spliced else 1), "it is tried once"


def test_a_full_disk_is_said_with_the_file(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def splice(*_: int, **__: int) -> int:
        raise OSError(28, "No space left on device")

    reader, writer = os.pipe()
    monkeypatch.setattr(os, "splice", splice)
    with pytest.raises(SyncError, match="the volume is full: weights cannot be written"):
        target.sink().take(reader, 10, 0)
    os.close(reader)
    os.close(writer)


def test_progress_is_told_now_and_then_and_the_rest_is_kept(target: Target) -> None:
    now = [0.0]
    target.clock = lambda: now[0]
    sink = target.sink()
    sink.write(memoryview(b"abc"), 0)
    now[0] = 0.6
    sink.write(memoryview(b"de"), 3)
    sink.write(memoryview(b"f"), 5)
    assert (target.moved, sink.untold) == ([5], 1)
    assert target.path.read_bytes() == b"abcdef"


def opened(fake: FakeS3, keys: Sequence[str] = ("k", "s")) -> ObjectStore:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    options = local_options(
        endpoint=fake.endpoint, credentials=dict(zip(names, keys, strict=False))
    )
    store = open_store("s3://models/digits", options)
    assert isinstance(store, ObjectStore)
    return store


def test_a_store_with_keys_signs_the_url(target: Target) -> None:
    import asyncio

    with FakeS3(objects={"digits/3/weights": CONTENT}) as fake:
        store = opened(fake)
        (item,) = asyncio.run(store.listing("3"))
        fake.asked.clear()
        range_transfer = store.range_transfer("3", item, target.sink(), start=0, length=N)
        assert range_transfer is not None
        range_transfer.run()
        assert range_transfer.position == N
        (asked,) = fake.asked
    assert asked.query["X-Amz-Signature"]
    assert target.path.read_bytes() == CONTENT


def test_without_keys_there_is_no_direct_way(target: Target) -> None:
    with FakeS3(objects={"digits/3/weights": CONTENT}) as fake:
        store = opened(fake, ())
        assert store.range_transfer("3", info(), target.sink(), start=0, length=N) is None


def test_a_store_that_takes_no_signed_urls_is_asked_once(target: Target) -> None:
    def fault(asked: Asked) -> Fault | None:
        return Fault(403, "AccessDenied") if "X-Amz-Signature" in asked.query else None

    with FakeS3(objects={"digits/3/weights": CONTENT}, fault=fault) as fake:
        store = opened(fake)
        first = store.range_transfer("3", info(), target.sink(), start=0, length=N)
        assert first is not None
        first.run()
        assert first.position == 0
        assert store.range_transfer("3", info(), target.sink(), start=0, length=N) is None


def test_what_is_encrypted_goes_the_librarys_way(target: Target) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    options = local_options(endpoint="https://127.0.0.1:1", credentials=keys)
    store = open_store("s3://models/digits", options)
    assert isinstance(store, ObjectStore)
    assert store.range_transfer("3", info(), target.sink(), start=0, length=N) is None
    assert pour(zero_copy("https://127.0.0.1:1"), target) == 0


def test_with_a_proxy_on_the_way_there_is_no_direct_one(target: Target) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    options = local_options(
        endpoint="http://127.0.0.1:1", credentials=keys, proxy="http://127.0.0.1:2"
    )
    store = open_store("s3://models/digits", options)
    assert isinstance(store, ObjectStore)
    assert store.range_transfer("3", info(), target.sink(), start=0, length=N) is None


@pytest.mark.parametrize("drop", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["slow", "continue"])
def test_a_head_that_never_ends_is_given_up(target: Target, drop: bytes) -> None:
    """Each byte comes within the time for one; all of them would take days."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            while not stop.wait(0.02):
                try:
                    client.sendall(drop)
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripping = threading.Thread(target=drip, args=(listener,))
        dripping.start()
        direct = zero_copy(f"http://127.0.0.1:{listener.getsockname()[1]}", Patience(5.0, 5.0, 0.3))
        range_transfer = RangeTransfer(direct, "weights", info(), target.sink(), start=0, length=N)
        running = threading.Thread(target=range_transfer.run, daemon=True)
        running.start()
        running.join(5)
        within_limit = not running.is_alive()
        stop.set()
        dripping.join()
    assert within_limit
    assert range_transfer.position == 0
