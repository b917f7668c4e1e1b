"""Child processes that carry out requests: started, fed, heard, kept for the next request, and never left behind."""

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from slipway_server.errors import Code
from slipway_server.loading.sandbox.protocol import (
    SandboxLoadError,
    SandboxRequest,
    SandboxResult,
    parse_answer,
)

_ANSWER_BYTES: Final = 1 << 20
_LAST_WORDS_BYTES: Final = 16384
_READ_BYTES: Final = 65536
_LOOK_SECONDS: Final = 0.05
_START_SECONDS: Final = 300.0
"""Where processors are short, a child that gives way to the server may need long for its imports alone."""


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """How versions are loaded in child processes.

    Attributes:
        command: the child's program and arguments.
        payload: written to its standard input before the first request.
        environment: the child's whole environment; nothing is inherited besides.
        timeout: seconds of loading until it is killed; 0 means never.
        memory_bytes: bytes that a child may use in all; 0 means a share of what is free.
        parallel: loads at a time; each costs as much memory as TensorFlow itself and the model.
        idle: seconds for which a child that answered waits for another request.
    """

    command: tuple[str, ...]
    payload: bytes
    environment: Mapping[str, str]
    timeout: float
    memory_bytes: int
    parallel: int
    idle: float = 10.0


class SandboxProcesses:
    """Runs requests in child processes, and keeps those that answered for a while."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        # The kernel kills a child when the thread that started it ends, not only when the whole process does. So one
        # thread that stays starts them all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="sandbox-starter")
        self._lock = threading.Lock()
        self._idle: list[_SandboxProcess] = []

    def run(self, request: SandboxRequest) -> SandboxResult:
        """Have a child carry out a request; one that does not answer in time, or at all, is gone afterwards.

        Raises:
            ServingError: no child could be started.
        """
        child = self._waiting()
        if child is not None:
            result = self._run(child, request)
            # What went wrong in a child that has done other work may be that work's fault: a new one decides.
            if result.code is None or _is_fine(result):
                return result
        return self._run(self._starter.submit(_SandboxProcess, self._settings).result(), request)

    def _run(self, child: "_SandboxProcess", request: SandboxRequest) -> SandboxResult:
        try:
            result = child.run(request, self._settings.timeout)
        except BaseException:
            child.end()
            raise
        if result.code == 0 and parse_answer(result.answer) is not None and child.usable:
            self._keep(child)
        else:
            child.end()
        return result

    def close(self) -> None:
        """End the processes that wait for another request."""
        with self._lock:
            waiting, self._idle = self._idle, []
        for child in waiting:
            child.end()

    def _waiting(self) -> "_SandboxProcess | None":
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.usable:
                    return child
                child.end()
        return None

    def _keep(self, child: "_SandboxProcess") -> None:
        with self._lock:
            self._idle.append(child)
        timer = threading.Timer(self._settings.idle, self._retire, (child, child.requests))
        timer.daemon = True
        timer.start()

    def _retire(self, child: "_SandboxProcess", requests: int) -> None:
        with self._lock:
            if child not in self._idle or child.requests != requests:
                return
            self._idle.remove(child)
        child.end()


def _is_fine(result: SandboxResult) -> bool:
    answer = parse_answer(result.answer) if result.code == 0 else None
    return answer is not None and (
        answer["ok"] or answer.get("code") != int(Code.RESOURCE_EXHAUSTED)
    )


class _SandboxProcess:
    """One child process; it carries out one request at a time."""

    def __init__(self, settings: SandboxSettings) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of this server
                settings.command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(settings.environment),
                close_fds=True,
                # A group of its own: a terminal's SIGINT is the server's affair, and what it starts dies with it.
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxLoadError(
                Code.UNAVAILABLE,
                f"No child process could be started for the load: {error.strerror}",
            ) from error
        self._introduction = settings.payload
        self.requests = 0

    @property
    def usable(self) -> bool:
        """Whether the process is there to take a request."""
        return self._process.returncode is None and _ended(self._process.pid) is None

    def run(self, request: SandboxRequest, timeout: float) -> SandboxResult:
        """Have a request carried out, or wait until the child has ended."""
        self.requests += 1
        began = time.monotonic()
        data, self._introduction = self._introduction + request.encode(), b""
        conversation = _Conversation(self._process, data, timeout)
        in_time = conversation.run()
        return SandboxResult(
            # One that answered and goes on counts as one that ended well.
            (_ended(self._process.pid) or 0) if in_time else None,
            conversation.answer,
            conversation.words,
            time.monotonic() - began,
            time.monotonic() - conversation.began,
        )

    def end(self) -> None:
        """Kill the process with all that it started, and collect it; what ended by itself keeps its exit code."""
        with self._process as process:
            if process.returncode is None:
                # It may have ended, but is not collected yet, so the number still belongs to it and to its group.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class _Conversation:
    """Gives a child a request and hears it out, without ever waiting for a pipe beyond the deadline.

    Attributes:
        began: when the child began to load; before that, when it was given the request (monotonic seconds).
    """

    def __init__(self, child: subprocess.Popen[bytes], data: bytes, timeout: float) -> None:
        self.began = time.monotonic()
        self._child = child
        self._timeout = timeout or threading.TIMEOUT_MAX
        self._deadline = self.began + _START_SECONDS + self._timeout
        self._unsent = memoryview(data)
        self._heard = bytearray()
        self._words = bytearray()

    @property
    def answer(self) -> bytes:
        """The first line that is not empty."""
        return bytes(self._heard).lstrip(b"\n").partition(b"\n")[0]

    @property
    def words(self) -> str:
        return self._words.decode("utf-8", "replace")

    def run(self) -> bool:
        """Return whether the child answered, or ended by itself, before the deadline."""
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
            while not (self._answered() or _ended(child.pid) is not None):
                left = self._deadline - time.monotonic()
                if left <= 0:
                    return False
                if selector.get_map():
                    self._talk(selector, min(left, _LOOK_SECONDS))
                else:
                    time.sleep(min(left, _LOOK_SECONDS))
            # What it wrote before it ended is still in the pipes; what it started may go on writing.
            while selector.get_map() and self._talk(selector, 0):
                if time.monotonic() > self._deadline or self._answered():
                    break
        return True

    def _answered(self) -> bool:
        return b"\n" in self._heard.lstrip(b"\n")

    def _talk(self, selector: selectors.BaseSelector, timeout: float) -> bool:
        """Serve the pipes that are ready; return whether there were any."""
        ready = selector.select(timeout)
        for key, _ in ready:
            if not key.data(key.fd):
                selector.unregister(key.fileobj)
        return bool(ready)

    def _feed(self, pipe: int) -> bool:
        try:
            self._unsent = self._unsent[os.write(pipe, self._unsent) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:  # it ended, or does not listen; its end will tell
            return False
        return bool(self._unsent)

    def _hear_answer(self, pipe: int) -> bool:
        data = os.read(pipe, _READ_BYTES)
        if data and not self._heard:
            self.began = time.monotonic()
            self._deadline = self.began + self._timeout
        self._heard += data
        del self._heard[_ANSWER_BYTES:]
        return bool(data)

    def _hear_words(self, pipe: int) -> bool:
        data = os.read(pipe, _READ_BYTES)
        self._words += data
        del self._words[:-_LAST_WORDS_BYTES]
        return bool(data)


def _ended(process: int) -> int | None:
    """Return the exit code of a child that has ended, and leave it to be collected; None when it goes on."""
    end = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if end is None:
        return None
    return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
