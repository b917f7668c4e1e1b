"""Servers that answer without end, or not at all, cost bounded memory and time and nothing that stays."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from certificates import Authority, server_context
from local_stores import LOOPBACK, local_options
from slipway_sync.stores import (
    Patience,
    SourceError,
    Store,
    open_store,
)
from slipway_sync.stores.egress.proxy import EgressProxy

PATIENCE = Patience(stall=5.0, request=20.0, retries=0)
HASTE = Patience(request=1.0, retries=0)
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "word"}
_ENOUGH = 1 << 30
"""Bytes after which a test has failed: nobody stopped the server."""


@dataclass
class Endless:
    """Sends each request what `answer` yields, until nobody takes it."""

    answer: Callable[[], Iterator[bytes]]
    sent: int = 0
    open_ones: list[socket.socket] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    tls: ssl.SSLContext | None = None
    stays: threading.Event | None = None
    """Set: connections are closed when their clients have gone."""

    @contextmanager
    def up(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self._accept, args=(listener,))
            thread.start()
            yield f"http{'s' if self.tls else ''}://127.0.0.1:{listener.getsockname()[1]}"
            for one in (listener, *self.open_ones):
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(one, socket.SHUT_RDWR)
        thread.join()

    def _accept(self, listener: socket.socket) -> None:
        threads = []
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.open_ones.append(client)
                threads.append(threading.Thread(target=self._serve, args=(client,)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(client)
            stack.enter_context(contextlib.suppress(OSError))
            if self.tls is not None:
                client = stack.enter_context(self.tls.wrap_socket(client, server_side=True))
                self.open_ones.append(client)
            while _request(client):
                self.asked.set()
                for piece in self.answer():
                    client.sendall(piece)
                    self.sent += len(piece)
                    if self.sent > _ENOUGH:
                        return
            if self.stays is not None:
                self.stays.wait(30)


def _request(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        chunk = client.recv(65536)
        if not chunk:
            return b""
        data += chunk
    return data


def page(entries: str) -> Iterator[bytes]:
    body = (
        '<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated>'
        f"<NextContinuationToken>again</NextContinuationToken>{entries}</ListBucketResult>"
    ).encode()
    yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def endless_body(head: bytes) -> Iterator[bytes]:
    yield head
    while True:
        yield bytes(1 << 20)


FOLDERS = "".join(
    f"<CommonPrefixes><Prefix>m/{n}/</Prefix></CommonPrefixes>" for n in range(20_000)
)


@pytest.mark.parametrize(
    ("entries", "patience"), [(FOLDERS, PATIENCE), ("", HASTE)], ids=["full", "empty"]
)
def test_a_listing_of_endless_pages_ends(entries: str, patience: Patience) -> None:
    server = Endless(lambda: page(entries))
    with server.up() as url:
        store = open_store("s3://models/m", local_options(endpoint=url, patience=patience))
        with pytest.raises(SourceError, match="s3://models/m: its listing does not end"):
            asyncio.run(asyncio.wait_for(store.children(), 30))
    assert server.sent < 200 << 20


def test_a_version_of_endless_empty_pages_ends() -> None:
    server = Endless(lambda: page(""))
    with server.up() as url:
        store = open_store("s3://models/m", local_options(endpoint=url, patience=HASTE))
        with pytest.raises(SourceError, match="s3://models/m/1: its listing does not end"):
            asyncio.run(asyncio.wait_for(store.listing("1"), 30))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def tls(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return server_context(authority.issue(), tmp_path_factory.mktemp("tls"))


def opened(uri: str, url: str, authority: Authority) -> Store:
    credentials = {"AZURE_STORAGE_ACCOUNT_NAME": "account"} if uri.startswith("az") else {}
    return open_store(
        url if uri == "http" else uri,
        local_options(
            endpoint="" if uri == "http" else url,
            credentials=credentials,
            ca_bundle=authority.pem,
            patience=PATIENCE,
        ),
    )


# Where the system refuses what it has not, the process would be gone at the first; elsewhere at the last.
HUGE = (10**11, 10**15, 2**63 - 1, 2**63, 2**64)
ENDLESS = {
    **{f"{status} of {n}": b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n" % (status, n)
       for status in (200, 403, 404) for n in HUGE},
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    "a huge chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 99999999999\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 99999999999\n\n",
    "a folded length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 99999999999\r\n\r\n",
    "chunks and a length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    "after an answer": b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    "after an interim answer": b"HTTP/1.1 100 Go\r\nContent-Length: 5\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("uri", ["s3://models/m", "gs://models/m", "az://models/m", "http"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("head", ENDLESS.values(), ids=ENDLESS)
def test_a_page_without_end_is_cut(
    head: bytes, scheme: str, uri: str, authority: Authority, tls: ssl.SSLContext
) -> None:
    server = Endless(lambda: endless_body(head), tls=tls if scheme == "https" else None)
    with server.up() as url, pytest.raises(SourceError):
        asyncio.run(asyncio.wait_for(opened(uri, url, authority).children(), 30))
    assert server.sent < 200 << 20


@pytest.mark.parametrize("uri", ["s3://models/m", "gs://models/m", "az://models/m", "http"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("status", [200, 206, 403, 416])
def test_no_answer_to_a_read_is_reserved_for(
    status: int, scheme: str, uri: str, authority: Authority, tls: ssl.SSLContext
) -> None:
    head = (
        b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\nContent-Range: bytes 0-%d/%d\r\n"
        b'ETag: "a"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n'
    ) % (status, 10**15, 10**15 - 1, 10**15)
    server = Endless(lambda: endless_body(head), tls=tls if scheme == "https" else None)
    with server.up() as url:
        store = opened(uri, url, authority)
        for length in (None, 100):
            with contextlib.suppress(SourceError):
                asyncio.run(asyncio.wait_for(store.read("1", "f", length=length), 30))
    assert server.sent < 300 << 20


def test_a_redirect_over_tls_leads_to_no_answer_of_any_length(
    authority: Authority, tls: ssl.SSLContext
) -> None:
    last = Endless(lambda: endless_body(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 10**15))
    last.tls = tls
    with last.up() as target:
        location = f"{target}/index.json".replace("127.0.0.1", "localhost").encode()
        answer = b"HTTP/1.1 307 Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location
        with (
            Endless(lambda: iter((answer,)), tls=tls).up() as url,
            pytest.raises(SourceError, match="its answer does not end"),
        ):
            asyncio.run(opened("http", url, authority).children())
    assert last.asked.is_set()


@pytest.mark.parametrize("uri", ["s3://models/m", "http"])
def test_a_part_without_end_is_not_taken_into_memory(uri: str) -> None:
    head = (
        b"HTTP/1.1 206 OK\r\nContent-Length: 99999999999\r\nContent-Range: bytes 0-99/100\r\n"
        b'ETag: "a"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n'
    )
    server = Endless(lambda: endless_body(head))
    with server.up() as url:
        options = local_options(endpoint="" if uri == "http" else url, patience=PATIENCE)
        store = open_store(url if uri == "http" else uri, options)
        with contextlib.suppress(SourceError):
            assert len(asyncio.run(store.read("1", "saved_model.pb", length=100))) < 4 << 20
    assert server.sent < 30 << 20


def test_a_server_that_says_nothing_keeps_no_thread_when_its_client_has_gone() -> None:
    stays = threading.Event()
    server = Endless(lambda: iter(()), stays=stays)
    gate = EgressProxy()
    egress = gate.issue_token(LOOPBACK)
    with server.up() as url:
        begun = threading.active_count()
        host = url.removeprefix("http://")
        place = gate._listener.getsockname()
        proof = _proof(egress.token)
        for head in (f"GET {url}/a HTTP/1.1", f"CONNECT {host} HTTP/1.1"):
            with socket.create_connection(place, timeout=10) as client:
                client.sendall(f"{head}\r\n{proof}\r\n\r\n".encode())
                if head.startswith("CONNECT"):
                    assert client.recv(100).startswith(b"HTTP/1.1 200")
                    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert server.asked.wait(10)
                server.asked.clear()
        deadline = time.monotonic() + 10
        # Those of the server stay: it closes nothing.
        while threading.active_count() > begun + 2 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert threading.active_count() <= begun + 2
        stays.set()
    gate.close()


def test_the_gate_lives_on_when_there_are_too_many_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = EgressProxy()
    place = gate._listener.getsockname()
    start, failures = threading.Thread.start, iter([RuntimeError("can't start new thread")])

    def failing(thread: threading.Thread) -> None:
        if error := next(failures, None):
            raise error
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    with socket.create_connection(place, timeout=10) as client:
        assert client.recv(1) == b""
    with socket.create_connection(place, timeout=10) as client:
        client.sendall(b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 407")
    gate.close()


def _proof(token: str) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(f"slipway:{token}".encode()).decode()


def test_more_folders_than_anybody_has_are_not_told() -> None:
    entries = "".join(
        f"<CommonPrefixes><Prefix>m/{n}/</Prefix></CommonPrefixes>" for n in range(100_001)
    )
    body = (
        f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
    )
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with Endless(lambda: iter((answer,))).up() as url:
        store = open_store("s3://models/m", local_options(endpoint=url, patience=PATIENCE))
        with pytest.raises(SourceError, match="s3://models/m contains more than 100000 folders"):
            asyncio.run(store.children())


def test_more_directories_than_anybody_has_are_not_told() -> None:
    versions = ",".join(f'{{"directory":"{n}","files":[]}}' for n in range(100_001))
    body = f'{{"formatVersion":1,"versions":[{versions}]}}'.encode()
    dated = b"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"
    answer = b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n" % (dated, len(body)) + body
    with Endless(lambda: iter((answer,))).up() as url:
        store = open_store(f"{url}/m", local_options(patience=PATIENCE))
        with pytest.raises(SourceError, match="/m contains more than 100000 folders"):
            asyncio.run(store.children())
