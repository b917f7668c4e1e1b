"""Tries a version in a child process before it is loaded here: what kills the child costs nobody a request.

    load → a child loads and warms it up, under limits of its own → it ended well → load it here
                              └ crashed, hung, ran out of memory, or said why not → the version's error

Nothing here knows what the child runs; `slipway_server.trial` is that program. They talk over pipes: the child reads
an `Order` from its standard input; to its standard output it writes an empty line when it is about to load, then one
JSON object. Its standard error is kept for the sentence that explains a crash.
"""

import json
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, Self, TypeVar

import structlog

from slipway_server.core.manager import Loader
from slipway_server.errors import Code, ServingError
from slipway_server.markers import override

T = TypeVar("T")

_ANSWER_BYTES: Final = 1 << 20
_LAST_WORDS_BYTES: Final = 16384
_LAST_WORDS_CHARACTERS: Final = 300
_READ_BYTES: Final = 65536
_LOOK_SECONDS: Final = 0.05
_START_SECONDS: Final = 300.0
"""Where processors are short, a child that gives way to the server may need long for its imports alone."""
# The C++ library and TensorFlow say so before they abort; the signal alone would look like any other crash.
_SIGNS_OF_NO_MEMORY: Final = ("std::bad_alloc", "out of memory", "OOM when", "Cannot allocate")
# The line that tells what happened is rarely the last one: a stack trace follows it.
_TELLING: Final = ("Check failed", "what():", "Fatal", "terminate called", "Error: ", "Error ")
_TRACE_BEGINS: Final = ("*** ", "    @ ", "@ ", "PC: @", "{")

_log = structlog.get_logger("slipway_server.isolation")


class IsolatedLoadError(ServingError):
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
class Order:
    """What the child is asked to do.

    Attributes:
        memory_bytes: that it may use in all.
        parent: process id of the server; the child ends when that is no longer its parent.
    """

    model: str
    version: int
    path: str
    memory_bytes: int
    parent: int

    def encode(self) -> bytes:
        """Return one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Read what `encode` wrote."""
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        code: exit code; the negative number of the signal that ended it; None when it had to be killed for its time.
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


def verdict(order: Order, ended: Ended) -> ServingError | None:
    """Judge a trial; None means that the version may be loaded here. Pure."""
    who = f"Version {order.version} of model {order.model}"
    if ended.code is None:
        return IsolatedLoadError(
            Code.DEADLINE_EXCEEDED,
            f"{who} was still not loaded after {ended.loading:.1f} s in a process of its own (--load_timeout_seconds)",
        )
    said = _said(ended.answer)
    if ended.code == 0 and said is not None:
        return _reported(order, said)
    words = last_words(ended.words)
    because = f": {words}" if words else ""
    if -ended.code == signal.SIGKILL:
        return IsolatedLoadError(
            Code.RESOURCE_EXHAUSTED,
            f"{who} was loaded in a process of its own, which was killed (SIGKILL), most likely for the memory it took",
        )
    if any(sign in ended.words for sign in _SIGNS_OF_NO_MEMORY):
        return IsolatedLoadError(
            Code.RESOURCE_EXHAUSTED,
            f"{who} needs more memory to load than the {order.memory_bytes} bytes that a process of its own may use "
            f"(--isolated_load_memory_bytes){because}",
        )
    how = (
        f"crashed ({_signal_name(-ended.code)})"
        if ended.code < 0
        else f"ended with exit code {ended.code}"
        if ended.code
        else "ended without an answer"
    )
    return IsolatedLoadError(
        Code.INTERNAL, f"{who} was loaded in a process of its own, which {how}{because}"
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


def _said(answer: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(answer)
    except ValueError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("ok"), bool) else None


def _reported(order: Order, said: Mapping[str, Any]) -> ServingError | None:
    if said["ok"]:
        return None
    try:
        code = Code(said.get("code", Code.UNKNOWN))
    except ValueError:
        code = Code.UNKNOWN
    message = str(said.get("message", ""))
    if code is Code.RESOURCE_EXHAUSTED:
        message += (
            f" (loaded in a process of its own, which may use {order.memory_bytes} bytes: "
            "--isolated_load_memory_bytes)"
        )
    return ServingError(code, message)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """How trials are run.

    Attributes:
        command: the child's program and arguments.
        payload: written to its standard input after the order.
        environment: of the child, whole.
        timeout: seconds of loading until it is killed; 0 means never.
        memory_bytes: that it may use in all; 0 means a share of what is free.
        parallel: trials at a time; each costs as much memory as TensorFlow itself and the model.
    """

    command: tuple[str, ...]
    payload: bytes
    environment: Mapping[str, str]
    timeout: float
    memory_bytes: int
    parallel: int


class IsolatedLoader(Generic[T]):
    """Loads a version in a child process first, then with another loader (`core.manager.Loader`).

    Args:
        free_memory: bytes that may still be taken without harm, now.
    """

    def __init__(
        self, loader: Loader[T], settings: TrialSettings, free_memory: Callable[[], int]
    ) -> None:
        self._loader = loader
        self._settings = settings
        self._free_memory = free_memory
        self._slots = threading.BoundedSemaphore(settings.parallel)
        self._lock = threading.Lock()
        self._running = 0

    def load(self, model: str, version: int, path: str) -> T:
        """Try a version in a child, then load it here.

        Raises:
            ServingError: what either of them said; `IsolatedLoadError` when the child did not survive.
        """
        with self._slot() as memory_bytes:
            order = Order(model, version, path, memory_bytes, os.getpid())
            ended = run_child(self._settings, order)
        if error := verdict(order, ended):
            raise error
        _log.info(
            "tried in a child process",
            model=model,
            version=version,
            seconds=round(ended.seconds, 3),
            peak_bytes=(_said(ended.answer) or {}).get("peak_bytes"),
        )
        return self._loader.load(model, version, path)

    def unload(self, content: T) -> None:
        """Release what `load` returned."""
        self._loader.unload(content)

    @contextmanager
    def _slot(self) -> Iterator[int]:
        """Wait for a turn; give the bytes that the child may use."""
        with self._slots:
            with self._lock:
                self._running += 1
                # What the others use is no longer free; of what they may yet take, this one leaves them a share.
                share = self._free_memory() // self._running
            try:
                yield self._settings.memory_bytes or share
            finally:
                with self._lock:
                    self._running -= 1


def run_child(settings: TrialSettings, order: Order) -> Ended:
    """Run a child to its end; whatever happens here, it is gone afterwards.

    Raises:
        ServingError: it could not be started.
    """
    began = time.monotonic()
    try:
        child = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of this server
            settings.command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(settings.environment),
            close_fds=True,
            # A group of its own: a terminal's SIGINT is the server's affair, and what the child starts dies with it.
            start_new_session=True,
        )
    except OSError as error:
        raise IsolatedLoadError(
            Code.UNAVAILABLE, f"No process could be started to try the load in: {error.strerror}"
        ) from error
    conversation = _Conversation(child, order.encode() + settings.payload, settings.timeout)
    with child:
        try:
            ended = conversation.run()
        finally:
            # It may have ended, but is not collected yet, so the number still belongs to it and to its group.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return Ended(
        child.returncode if ended else None,
        conversation.answer,
        conversation.words,
        time.monotonic() - began,
        time.monotonic() - conversation.began,
    )


class _Conversation:
    """Feeds a child and hears it out, without ever waiting for a pipe beyond the deadline.

    Attributes:
        began: when the child began to load; before that, when it was started (monotonic seconds).
    """

    def __init__(self, child: subprocess.Popen[bytes], request: bytes, timeout: float) -> None:
        self.began = time.monotonic()
        self._child = child
        self._timeout = timeout or threading.TIMEOUT_MAX
        self._deadline = self.began + _START_SECONDS + self._timeout
        self._request = memoryview(request)
        self._answer = bytearray()
        self._words = bytearray()

    @property
    def answer(self) -> bytes:
        return bytes(self._answer)

    @property
    def words(self) -> str:
        return self._words.decode("utf-8", "replace")

    def run(self) -> bool:
        """Return whether the child ended by itself."""
        child = self._child
        assert child.stdin and child.stdout and child.stderr  # noqa: PT018, S101 - all three are pipes
        with selectors.DefaultSelector() as selector:
            for pipe, events, use in (
                (child.stdin, selectors.EVENT_WRITE, self._feed),
                (child.stdout, selectors.EVENT_READ, self._hear_answer),
                (child.stderr, selectors.EVENT_READ, self._hear_words),
            ):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, events, use)
            while not _has_ended(child.pid):
                left = self._deadline - time.monotonic()
                if left <= 0:
                    return False
                if selector.get_map():
                    self._talk(selector, min(left, _LOOK_SECONDS))
                else:
                    time.sleep(min(left, _LOOK_SECONDS))
            # What it wrote before it ended is still in the pipes; what it started may go on writing.
            while selector.get_map() and self._talk(selector, 0):
                if time.monotonic() > self._deadline:
                    break
        return True

    def _talk(self, selector: selectors.BaseSelector, timeout: float) -> bool:
        """Serve the pipes that are ready; return whether there were any."""
        ready = selector.select(timeout)
        for key, _ in ready:
            if not key.data(key.fd):
                selector.unregister(key.fileobj)
                if key.fileobj is self._child.stdin:
                    self._child.stdin.close()  # its end is what the child waits for
        return bool(ready)

    def _feed(self, pipe: int) -> bool:
        try:
            self._request = self._request[os.write(pipe, self._request) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:  # it ended, or does not listen; its end will tell
            return False
        return bool(self._request)

    def _hear_answer(self, pipe: int) -> bool:
        data = os.read(pipe, _READ_BYTES)
        if data and not self._answer:
            self.began = time.monotonic()
            self._deadline = self.began + self._timeout
        self._answer += data
        del self._answer[_ANSWER_BYTES:]
        return bool(data)

    def _hear_words(self, pipe: int) -> bool:
        data = os.read(pipe, _READ_BYTES)
        self._words += data
        del self._words[:-_LAST_WORDS_BYTES]
        return bool(data)


def _has_ended(process: int) -> bool:
    """Return whether a child has ended, and leave it to be collected."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
