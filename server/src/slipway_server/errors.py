"""The one error of the server: a canonical status code and one sentence.

Everything that can go wrong is turned into a `ServingError` where it is first understood; the front ends only
translate the code into their protocol. The numbers are those of `google.rpc.Code`, which gRPC and TensorFlow share.
"""

from enum import IntEnum
from typing import Final

from typing_extensions import override


class Code(IntEnum):
    """Canonical status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# A load that failed with one of these may succeed unchanged a little later (a full disk cache, memory that another
# model is about to release). Every other code says that the export itself is wrong: trying the same bytes again is
# a waste of the minutes in which somebody waits to hear about it.
TRANSIENT_CODES: Final = frozenset(
    {
        Code.CANCELLED,
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.RESOURCE_EXHAUSTED,
        Code.ABORTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
    }
)


class ServingError(Exception):
    """A request or a load that cannot be carried out.

    Attributes:
        code: the canonical code.
        message: one sentence for the caller; the first words are TensorFlow Serving's own where it has any.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @override
    def __str__(self) -> str:
        """Return `CODE: message`, the form in which TensorFlow prints a status."""
        return f"{self.code.name}: {self.message}"

    @property
    def transient(self) -> bool:
        """Whether the same load may succeed later without anybody changing anything."""
        return self.code in TRANSIENT_CODES


class ModelFaultError(ServingError):
    """A run that failed for a reason that no request can change: INTERNAL, and the same run never succeeds."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INTERNAL, message)

    @property
    @override
    def transient(self) -> bool:
        """Whether the same load may succeed later without anybody changing anything."""
        return False


def invalid_argument(message: str) -> ServingError:
    """Return the most frequent error: the request itself is wrong."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def deadline_exceeded() -> ServingError:
    """Return the error for a request that is not run because its time is over."""
    return ServingError(Code.DEADLINE_EXCEEDED, "The deadline passed before the model could be run")


def not_found(message: str) -> ServingError:
    """Return the error for a model, version or signature that is not here."""
    return ServingError(Code.NOT_FOUND, message)


def overloaded(limit: int) -> ServingError:
    """Refuse a request beyond `--max_inflight_requests`: UNAVAILABLE, a code that clients retry on another replica."""
    return ServingError(
        Code.UNAVAILABLE,
        f"The server is overloaded: {limit} requests are in flight, and --max_inflight_requests allows no more",
    )
