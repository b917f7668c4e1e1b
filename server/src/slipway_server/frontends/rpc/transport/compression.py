"""Compressed gRPC messages, decompressed here and not by gRPC, which would do so without any bound.

gRPC is told to hand messages over as they came. It does not say which of them are compressed, but their first bytes do:
no message of ours begins so. A protobuf message cannot begin as gzip does, and zlib's first byte would be a number in
field 15, which none of ours has.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Final

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.inflate import GZIP_OR_ZLIB, gunzip
from slipway_server.frontends.room import Room, Share
from slipway_server.frontends.rpc.transport.deadline import deadline

if TYPE_CHECKING:
    import grpc

_BEGINNINGS: Final = frozenset({b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"})
_SMALL: Final = 64 << 10
"""Messages up to so many bytes wait for no room."""

Method = Callable[[bytes, "grpc.ServicerContext"], bytes]
Stream = Callable[[Iterator[bytes], "grpc.ServicerContext"], Iterator[bytes]]


class Decompression:
    """Decompresses the messages of all methods.

    Args:
        limit: bytes that a message may grow to.
        together: bytes of all messages at a time; one may be larger.
        status: gRPC's name of a code.
    """

    def __init__(
        self, limit: int, together: int, status: "Callable[[Code], grpc.StatusCode]"
    ) -> None:
        self._limit = limit
        self._status = status
        self._room = Room(together)

    def around(self, method: Method) -> Method:
        """Return a method that takes messages as they came."""

        @wraps(method)
        def as_sent(message: bytes, context: "grpc.ServicerContext") -> bytes:
            if message[:2] not in _BEGINNINGS:
                return method(message, context)
            return self._decompressed(message, context, method)

        return as_sent

    def around_stream(self, stream: Stream) -> Stream:
        """Return a stream that takes messages as they came; they are small when they are what they should be."""

        @wraps(stream)
        def as_sent(requests: Iterator[bytes], context: "grpc.ServicerContext") -> Iterator[bytes]:
            return stream(self._plain(requests, context), context)

        return as_sent

    def _plain(self, requests: Iterator[bytes], context: "grpc.ServicerContext") -> Iterator[bytes]:
        for message in requests:
            try:
                plain = self.read(message)
            except ServingError as error:
                context.abort(self._status(error.code), error.message)
            yield plain

    def read(self, message: bytes) -> bytes:
        """Return a message that is small when it is what it should be.

        Raises:
            ServingError: as `gunzip`.
        """
        return self._gunzip(message, lambda _size: None) if message[:2] in _BEGINNINGS else message

    def _decompressed(
        self, message: bytes, context: "grpc.ServicerContext", method: Method
    ) -> bytes:
        shares: list[Share] = []

        def admit(size: int) -> None:
            if size > _SMALL:
                shares.append(self._room.take(size, until))

        until = deadline(context)
        try:
            try:
                plain = self._gunzip(message, admit)
            except ServingError as error:
                context.abort(self._status(error.code), error.message)
            return method(plain, context)
        finally:
            for share in shares:
                share.close()

    def _gunzip(self, message: bytes, admit: Callable[[int], None]) -> bytes:
        return gunzip(message, self._limit, admit=admit, too_large=_too_large, form=GZIP_OR_ZLIB)


def _too_large(limit: int) -> ServingError:
    return ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"The request grows beyond {limit} bytes when decompressed, and --grpc_max_message_bytes allows no more",
    )
