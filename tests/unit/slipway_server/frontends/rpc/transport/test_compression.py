"""§7: compressed gRPC messages, those of real clients and those that are made to do harm."""

from __future__ import annotations

import contextlib
import gzip
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hostile import MIB, gzip_bomb
from slipway_server.frontends.rpc.transport.compression import Decompression
from slipway_server.frontends.rpc.transport.limits import RpcLimits
from slipway_server.frontends.rpc.transport.server import GRPC_STATUS, Address, RpcServer

TIMEOUT = 30.0
LIMIT = 4 * MIB


@contextmanager
def port(tmp_path: Path, limits: RpcLimits) -> Iterator[str]:
    address = f"unix:{tmp_path}/socket"
    server = RpcServer([Address(address)], limits, {"/a/Early": lambda request, _: request[::-1]})
    server.serve({"/a/B": lambda request, _context: request[::-1]})
    server.start()
    try:
        yield address
    finally:
        server.stop(0)


@pytest.mark.parametrize(
    "compression", [grpc.Compression.Gzip, grpc.Compression.Deflate, grpc.Compression.NoCompression]
)
def test_what_real_clients_compress_arrives_as_it_was(
    tmp_path: Path, compression: grpc.Compression
) -> None:
    message = b"\x0a\x03abc" * 100_000
    with (
        port(tmp_path, RpcLimits(threads=2)) as address,
        grpc.insecure_channel(address, compression=compression) as channel,
    ):
        for path in ("/a/B", "/a/Early"):
            call = channel.unary_unary(path)
            assert call(message, timeout=TIMEOUT) == message[::-1]
            assert call(b"", timeout=TIMEOUT) == b""
            assert call(b"\x0a", timeout=TIMEOUT) == b"\x0a"
        stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        asked = health_pb2.HealthCheckRequest(service="a" * 1000)
        with pytest.raises(grpc.RpcError) as error:
            stub.Check(asked, timeout=TIMEOUT)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]
        seen = next(stub.Watch(asked, timeout=TIMEOUT))
        assert seen.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_message_that_grows_beyond_the_limit_is_refused_without_taking_the_memory(
    tmp_path: Path, compression: grpc.Compression
) -> None:
    bomb = bytes(64 * MIB)
    with (
        port(tmp_path, RpcLimits(threads=2, message=LIMIT)) as address,
        grpc.insecure_channel(address, compression=compression) as channel,
    ):
        call = channel.unary_unary("/a/B")
        assert len(call(bytes(LIMIT), timeout=TIMEOUT)) == LIMIT
        with pytest.raises(grpc.RpcError) as error:
            call(bomb, timeout=TIMEOUT)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
    assert error.value.details() == (  # type: ignore[attr-defined]
        "The request grows beyond 4194304 bytes when decompressed, and --grpc_max_message_bytes allows no more"
    )


class Context:
    """A call without a deadline."""

    def __init__(self) -> None:
        self.aborted: tuple[grpc.StatusCode, str] | None = None

    def time_remaining(self) -> None:
        return None

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.aborted = (code, details)
        raise RuntimeError


def outcome(message: bytes, limit: int = LIMIT) -> tuple[grpc.StatusCode, str] | None:
    context = Context()
    decompression = Decompression(limit, 256 * MIB, GRPC_STATUS.__getitem__)
    method = decompression.around(lambda data, _context: data)
    with contextlib.suppress(RuntimeError):
        method(message, context)  # type: ignore[arg-type]
    assert decompression._room.used == 0
    return context.aborted


@pytest.mark.parametrize(
    "bomb",
    [gzip_bomb(1 << 30), gzip_bomb(1 << 30, announced=0), zlib.compress(bytes(256 * MIB))],
    ids=["gzip", "a gzip that hides its size", "zlib"],
)
def test_a_bomb_takes_no_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        found = outcome(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert found[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert peak < 8 * MIB


@pytest.mark.parametrize(
    "message", [b"\x1f\x8b", b"\x1f\x8bnonsense", gzip.compress(b"a" * 99)[:-9], b"x\x9cno"]
)
def test_what_only_begins_like_a_compressed_message_is_refused(message: bytes) -> None:
    found = outcome(message)
    assert found is not None
    assert found[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_large_messages_are_decompressed_one_after_the_other() -> None:
    """64 at once, each of which would take a quarter of the room."""
    decompression = Decompression(64 * MIB, 256 * MIB, GRPC_STATUS.__getitem__)
    most: list[int] = []

    def method(data: bytes, _context: object) -> bytes:
        most.append(decompression._room.used)
        return data[:1]

    wrapped = decompression.around(method)  # type: ignore[arg-type]
    message = gzip.compress(bytes(60 * MIB), 1)
    threads = [
        threading.Thread(target=wrapped, args=(message, Context()), daemon=True) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT * 4)
    assert len(most) == 8
    assert max(most) <= 256 * MIB


def test_a_small_message_waits_for_none_of_the_large_ones() -> None:
    decompression = Decompression(LIMIT, 256 * MIB, GRPC_STATUS.__getitem__)
    share = decompression._room.take(1 << 40)
    with share:
        method = decompression.around(lambda message, _context: message)
        assert method(gzip.compress(b"small"), Context()) == b"small"  # type: ignore[arg-type]


def test_messages_of_streams_are_decompressed_too() -> None:
    decompression = Decompression(LIMIT, 256 * MIB, GRPC_STATUS.__getitem__)
    stream = decompression.around_stream(lambda requests, _context: requests)
    sent = [gzip.compress(b"first"), b"second"]
    assert list(stream(iter(sent), Context())) == [b"first", b"second"]  # type: ignore[arg-type]
