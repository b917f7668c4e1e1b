"""Targets that need no TensorFlow."""

from __future__ import annotations

import asyncio
from typing import Any

from typing_extensions import override

from slipway_server.frontends.codec.json_text import parse
from slipway_server.frontends.http.budget import BodyBudget
from slipway_server.frontends.http.connection import ConnectionLimits, HttpConnection
from slipway_server.frontends.http.messages import HttpHandler, HttpRequest, HttpResponse
from slipway_server.frontends.inflate import gunzip
from slipway_server.frontends.rest.json_examples import read_examples
from slipway_server.frontends.rest.json_tensor import read_predict, signature_name
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Signature, TensorSpec
from slipway_server.settings import command_line
from slipway_server.settings.server import settings
from slipway_server.storage.versions import All, Latest, Specific, select

from .oracle import FindingError, Target

_DTYPES = tuple(DType)
_MANY = 50


def _signature(*dtypes: DType) -> Signature:
    inputs = {
        chr(ord("a") + n): TensorSpec(f"{n}:0", dtype, None) for n, dtype in enumerate(dtypes)
    }
    return Signature("serving_default", "", inputs, {})


def json_predict(data: bytes) -> None:
    """Read a predict body; the first byte chooses the signature."""
    first, body = data[:1], data[1:]
    choice = first[0] if first else 1
    dtype = _DTYPES[choice % len(_DTYPES)]
    wanted = _signature(dtype) if choice < 128 else _signature(dtype, DType.STRING)
    value = parse(body)
    signature_name(value)
    read = read_predict(
        value,
        wanted,
        literals=b"true" in body or b"false" in body,
        strings=body.count(b'"') // 2,
    )
    for alias, spec in wanted.inputs.items():
        if read.inputs[alias].dtype != spec.dtype.numpy:
            raise FindingError(f"{alias} is {read.inputs[alias].dtype}, not {spec.dtype}")


def json_examples(data: bytes) -> None:
    """Read a classify or regress body."""
    read_examples(parse(data))


def gzip_body(data: bytes) -> None:
    """Decompress a body."""
    limit = 1 << 20
    if len(gunzip(data, limit)) > limit:
        raise FindingError("more than the limit")


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    @override
    def write(self, data: Any) -> None:
        self.written += bytes(data)

    @override
    def close(self) -> None:
        self.closed = True

    @override
    def abort(self) -> None:
        self.closed = True

    @override
    def is_closing(self) -> bool:
        return self.closed

    @override
    def pause_reading(self) -> None: ...

    @override
    def resume_reading(self) -> None: ...

    @override
    def get_write_buffer_size(self) -> int:
        return 0

    @override
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


def converse(data: bytes, answer: HttpHandler) -> bytes:
    """Send bytes to a connection, in two pieces, answer what it makes of them and return what it wrote."""
    waiting: list[HttpRequest] = []
    transport = _Transport()
    connection = HttpConnection(
        lambda _connection, request: waiting.append(request),
        ConnectionLimits(body=1 << 20, head=1 << 13),
        lambda: False,
        lambda _connection, _begins: None,
        BodyBudget(1 << 20),
    )
    connection.connection_made(transport)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if not transport.closed:
            connection.data_received(piece)
    answered = 0
    while waiting and not transport.closed:
        answered += 1
        if answered > len(data):
            raise FindingError("more requests than bytes")
        connection.answer(answer(waiting.pop(0)))
    connection.eof_received()
    connection.connection_lost(None)
    return transport.written


def http(data: bytes) -> None:
    """Send bytes to an HTTP connection whose pages are all the same."""
    written = converse(data, lambda request: HttpResponse(200, request.body[:10]))
    if written and not written.startswith(b"HTTP/1.1 "):
        raise FindingError(f"no HTTP: {written[:50]!r}")


def flags(data: bytes) -> None:
    """Read a command line whose arguments are separated by NUL."""
    arguments = data.decode("utf-8", "surrogateescape").split("\0")
    parsed = command_line.parse(arguments)
    if not parsed.malformed:
        settings(parsed.values, cpus=2)


def versions(data: bytes) -> None:
    """Choose among directory names, separated by slashes."""
    names = data.decode("utf-8", "surrogateescape").split("/")
    for policy in (Latest(1), Latest(_MANY), All(), Specific(frozenset({0, 1, -1, 2**63 - 1}))):
        chosen = select("m", "/models/m", names, policy).directories
        if not set(chosen.values()) <= set(names):
            raise FindingError("a directory that there is not")


LIGHT: dict[str, Target] = {
    "json_predict": json_predict,
    "json_examples": json_examples,
    "gzip_body": gzip_body,
    "http": http,
    "flags": flags,
    "versions": versions,
}
