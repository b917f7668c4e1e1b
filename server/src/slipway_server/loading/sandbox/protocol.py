"""What is asked of a child process that loads a version first, and what its end means. Pure."""

import json
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from typing_extensions import override

from slipway_server.errors import Code, ServingError

_LAST_WORDS_CHARACTERS: Final = 300
# The C++ library and TensorFlow say so before they abort; the signal alone would look like any other crash.
_SIGNS_OF_NO_MEMORY: Final = ("std::bad_alloc", "out of memory", "OOM when", "Cannot allocate")
# The line that tells what happened is rarely the last one: a stack trace follows it.
_TELLING: Final = ("Check failed", "what():", "Fatal", "terminate called", "Error: ", "Error ")
_TRACE_BEGINS: Final = ("*** ", "    @ ", "@ ", "PC: @", "{")


class SandboxLoadError(ServingError):
    """A version that its child process did not survive.

    Only a lack of memory may pass by itself. A crash or a hang would come again, at the price of another process that
    fills the machine, so it is not tried again before the version's directory changes.
    """

    @property
    @override
    def transient(self) -> bool:
        """Whether the same load may succeed later without anybody changing anything."""
        return self.code in {Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE}


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """What the child is asked to do.

    Attributes:
        memory_bytes: bytes that the child may use in all.
    """

    model: str
    version: int
    path: str
    memory_bytes: int

    def encode(self) -> bytes:
        """Return one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Read what `encode` wrote."""
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """How a child ended.

    Attributes:
        code: exit code; the negative number of the signal that ended it; 0 also when it answered and goes on; None when
            its time was over.
        answer: what it wrote to its standard output.
        words: the end of what it wrote to its standard error.
        seconds: from its start to its end.
        loading: seconds of these since it began to load.
    """

    code: int | None
    answer: bytes
    words: str
    seconds: float
    loading: float = 0.0


def load_error(request: SandboxRequest, result: SandboxResult) -> ServingError | None:
    """Return why a version must not be loaded in the server; None means that the version may be loaded here. Pure."""
    who = f"Version {request.version} of model {request.model}"
    if result.code is None:
        return SandboxLoadError(
            Code.DEADLINE_EXCEEDED,
            f"{who} was still not loaded after {result.loading:.1f} s in a child process (--load_timeout_seconds)",
        )
    if result.code == 0 and (answer := parse_answer(result.answer)) is not None:
        return _reported(request, answer)
    words = last_words(result.words)
    because = f": {words}" if words else ""
    if -result.code == signal.SIGKILL:
        return SandboxLoadError(
            Code.RESOURCE_EXHAUSTED,
            f"{who} was loaded in a child process, which was killed (SIGKILL), probably because it ran out of memory",
        )
    if any(sign in result.words for sign in _SIGNS_OF_NO_MEMORY):
        return SandboxLoadError(
            Code.RESOURCE_EXHAUSTED,
            f"{who} needs more memory to load than the {request.memory_bytes} bytes that a child process may use "
            f"(--isolated_load_memory_bytes){because}",
        )
    how = (
        f"crashed ({_signal_name(-result.code)})"
        if result.code < 0
        else f"ended with exit code {result.code}"
        if result.code
        else "ended without an answer"
    )
    return SandboxLoadError(
        Code.INTERNAL, f"{who} was loaded in a child process, which {how}{because}"
    )


def last_words(text: str) -> str:
    r"""Return the line that best tells why a process ended.

    >>> last_words("starting\nF0000 x.cc:12] Check failed: a == b\n*** Check failure stack trace: ***\n    @ 0x7f\n")
    'F0000 x.cc:12] Check failed: a == b'
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_TRACE_BEGINS)]
    telling = [line for line in lines if any(sign in line for sign in _TELLING)]
    best = (telling or lines or [""])[-1].strip()
    return best[:_LAST_WORDS_CHARACTERS]


def parse_answer(answer: bytes) -> dict[str, Any] | None:
    """Return a child's answer; None when it is none."""
    try:
        found = json.loads(answer)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("ok"), bool) else None


def _reported(request: SandboxRequest, answer: Mapping[str, Any]) -> ServingError | None:
    if answer["ok"]:
        return None
    try:
        code = Code(answer.get("code", Code.UNKNOWN))
    except ValueError:
        code = Code.UNKNOWN
    message = str(answer.get("message", ""))
    if code is Code.RESOURCE_EXHAUSTED:
        message += (
            f" (loaded in a child process, which may use {request.memory_bytes} bytes: "
            "--isolated_load_memory_bytes)"
        )
    return ServingError(code, message)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
