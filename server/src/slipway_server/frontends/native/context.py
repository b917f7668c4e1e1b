"""What the handlers of gRPC methods need to know about a call that came over the native port."""

import ssl
import time
from collections.abc import Sequence
from typing import Final, NoReturn

import grpc


class AbortedError(Exception):
    """A handler has ended its call with a status."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class CallContext:
    """The part of `grpc.ServicerContext` that the handlers use.

    Args:
        left: seconds until the deadline; None without one.
        certificate: the client's, in DER, which was verified; None where clients need none.
    """

    def __init__(
        self,
        peer: str,
        metadata: Sequence[tuple[str, str]],
        left: float | None,
        certificate: bytes | None = None,
    ) -> None:
        self._peer = peer
        self._metadata = metadata
        self._certificate = certificate
        self._end = None if left is None else time.monotonic() + left

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline; None without one."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    def peer(self) -> str:
        """Return who calls, as gRPC writes it."""
        return self._peer

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """Return the client's own headers."""
        return self._metadata

    def auth_context(self) -> dict[str, list[bytes]]:
        """Return the client's certificate by gRPC's name for it, if it had to show one."""
        if self._certificate is None:
            return {}
        return {"x509_pem_cert": [ssl.DER_cert_to_PEM_cert(self._certificate).encode()]}

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with a status."""
        raise AbortedError(_NUMBERS[code], details)


_NUMBERS: Final[dict[grpc.StatusCode, int]] = {code: int(code.value[0]) for code in grpc.StatusCode}
