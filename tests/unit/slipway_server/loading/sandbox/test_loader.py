"""A version is loaded in a child first: whatever the child does, the caller gets an answer and no child is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slipway_server.errors import Code, ServingError
from slipway_server.loading.sandbox.loader import SandboxLoader
from slipway_server.loading.sandbox.processes import SandboxProcesses, SandboxSettings
from slipway_server.loading.sandbox.protocol import (
    SandboxRequest,
    SandboxResult,
    last_words,
    load_error,
)

REQUEST = SandboxRequest("m", 3, "/models/m/3", 1 << 30)
FINE = json.dumps({"ok": True, "peak_bytes": 7}).encode()

Child = Callable[..., SandboxSettings]


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """Settings whose child runs a few lines of Python; afterwards no such child may be left."""
    files = []

    def make(
        program: str, *, payload: bytes = b"", timeout: float = 30, parallel: int = 2
    ) -> SandboxSettings:
        path = tmp_path / f"child{len(files)}.py"
        path.write_text("import json, os, signal, sys, time\n" + textwrap.dedent(program))
        files.append(path)
        return SandboxSettings(
            (sys.executable, "-S", str(path)), payload, dict(os.environ), timeout, 0, parallel
        )

    yield make
    # A killed process that nobody waits for is gone a moment later.
    deadline = time.monotonic() + 60
    while (left := _left(files)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []


def _left(files: list[Path]) -> list[str]:
    return [line for line in _command_lines() if any(str(path) in line for path in files)]


def _command_lines() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return lines


class FakeLoader:
    def __init__(self) -> None:
        self.loaded: list[tuple[str, int, str]] = []
        self.unloaded: list[str] = []

    def load(self, model: str, version: int, path: str) -> str:
        self.loaded.append((model, version, path))
        return "content"

    def unload(self, content: str) -> None:
        self.unloaded.append(content)


def _fails(settings: SandboxSettings) -> ServingError:
    inner = FakeLoader()
    with pytest.raises(ServingError) as error:
        SandboxLoader(inner, settings, lambda: 1 << 30).load("m", 3, "/models/m/3")
    assert inner.loaded == [], "what failed in the child must not be loaded here"
    return error.value


# ---- real children -----------------------------------------------------------------------------------------------


def test_a_version_that_survives_its_child_is_loaded_here(child: Child) -> None:
    settings = child(
        """
        print(flush=True)
        assert sys.stdin.buffer.readline() == b"x" * 1000000 + b"\\n"
        request = json.loads(sys.stdin.buffer.readline())
        assert request == {"model": "m", "version": 3, "path": "/p", "memory_bytes": 600}
        print(json.dumps({"ok": True}))
        """,
        payload=b"x" * 1000000 + b"\n",
    )
    inner = FakeLoader()
    loader = SandboxLoader(inner, settings, lambda: 600)
    assert loader.load("m", 3, "/p") == "content"
    assert inner.loaded == [("m", 3, "/p")]
    loader.unload("content")
    assert inner.unloaded == ["content"]


def test_an_error_in_the_child_is_the_versions_error_word_for_word(child: Child) -> None:
    error = _fails(child('print(json.dumps({"ok": False, "code": 5, "message": "no variables"}))'))
    assert (error.code, error.message, error.transient) == (Code.NOT_FOUND, "no variables", False)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGILL", "SIGFPE"])
def test_a_crash_names_the_signal_and_the_last_words(child: Child, name: str) -> None:
    error = _fails(
        child(
            f"""
            print("F0000 tensor.cc:12] Check failed: ok", file=sys.stderr, flush=True)
            print("*** Check failure stack trace: ***", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.{name})
            """
        )
    )
    assert error.code is Code.INTERNAL
    assert error.message == (
        f"Version 3 of model m was loaded in a child process, which crashed ({name}): "
        "F0000 tensor.cc:12] Check failed: ok"
    )
    assert not error.transient, "a crash would come again"


def test_a_hang_is_ended_at_its_time_with_all_that_it_started(child: Child) -> None:
    settings = child(
        """
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1)  # the time to get ready does not count
        print(flush=True)
        time.sleep(600)
        """,
        timeout=0.7,
    )
    began = time.monotonic()
    error = _fails(settings)
    assert time.monotonic() - began < 300, "it would sleep for 600 s"
    assert error.code is Code.DEADLINE_EXCEEDED
    assert "was still not loaded after 0.7 s" in error.message
    assert time.monotonic() - began > 1.7
    assert not error.transient


def test_a_child_that_reads_nothing_and_writes_without_end_ends_at_its_time(child: Child) -> None:
    settings = child(
        """
        while True:
            os.write(1, b"x" * 65536)
            os.write(2, b"y" * 65536)
        """,
        payload=b"z" * 10_000_000,
        timeout=0.7,
    )
    error = _fails(settings)
    assert error.code is Code.DEADLINE_EXCEEDED


def test_more_memory_than_allowed(child: Child) -> None:
    settings = child(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_DATA, (100 << 20, 100 << 20))
        try:
            bytearray(1 << 30)
        except MemoryError:
            print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr, flush=True)
            os.abort()
        """
    )
    error = _fails(settings)
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert "needs more memory to load than the 1073741824 bytes" in error.message
    assert "std::bad_alloc" in error.message
    assert error.transient, "memory may come free"


def test_killed_from_outside(child: Child) -> None:
    error = _fails(child("os.kill(os.getpid(), signal.SIGKILL)"))
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert "SIGKILL" in error.message


@pytest.mark.parametrize(
    "program",
    [
        "print('garbage')",
        "os.write(1, bytes(range(256)) * 10000)",
        "print('[]')",
        "print('{\"ok\": 1}')",
        "pass",
        "os.close(1); os.close(2)",
    ],
)
def test_garbage_or_nothing_is_no_answer(child: Child, program: str) -> None:
    error = _fails(child(program))
    assert error.code is Code.INTERNAL
    assert error.message == (
        "Version 3 of model m was loaded in a child process, which ended without an answer"
    )


def test_an_exit_code_is_named(child: Child) -> None:
    error = _fails(child("print('ModuleNotFoundError: No module', file=sys.stderr); sys.exit(9)"))
    assert error.message.endswith("which ended with exit code 9: ModuleNotFoundError: No module")


def test_what_outlives_the_child_does_not_hold_up_its_answer(child: Child) -> None:
    settings = child(
        """
        if os.fork() == 0:
            while True:
                os.write(2, b"y" * 65536)
        os.write(1, b'{"ok": true}')
        """,
        timeout=300,
    )
    began = time.monotonic()
    ended = SandboxProcesses(settings).run(REQUEST)
    assert time.monotonic() - began < 150
    assert load_error(REQUEST, ended) is None


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    settings = SandboxSettings((str(tmp_path / "none"),), b"", {}, 1, 0, 1)
    error = _fails(settings)
    assert error.code is Code.UNAVAILABLE
    assert "No such file or directory" in error.message


def test_the_child_inherits_no_descriptor(child: Child) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        settings = child(
            """
            links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) > 2
                     and os.path.exists(f"/proc/self/fd/{fd}")]
            os.write(1, json.dumps({"ok": False, "message": repr(links)}).encode())
            """
        )
        error = _fails(settings)
    assert error.message == "[]"


def test_no_more_children_at_a_time_than_allowed_and_memory_is_shared(
    child: Child, tmp_path: Path
) -> None:
    settings = child(
        f"""
        request = json.loads(sys.stdin.buffer.readline())
        open(f"{tmp_path}/running-{{request['version']}}-{{request['memory_bytes']}}", "w").close()
        while not os.path.exists("{tmp_path}/go"):
            time.sleep(0.01)
        print(json.dumps({{"ok": True}}))
        """,
        parallel=2,
    )
    loader = SandboxLoader(FakeLoader(), settings, lambda: 1000)
    threads = [threading.Thread(target=loader.load, args=("m", n, "/p")) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()

    def running() -> list[str]:
        return sorted(path.name.split("-")[2] for path in tmp_path.glob("running-*"))

    deadline = time.monotonic() + 60
    while len(running()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running() == ["1000", "500"]
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(60)
    assert len(running()) == 3


SURVIVOR = """
    print(file=sys.stderr)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request["version"] == 13:
            os.abort()
        fine = request["version"] != 7
        print(json.dumps({"ok": fine, "code": 5, "message": "no", "peak_bytes": os.getpid()}), flush=True)
"""


def _process(ended: SandboxResult) -> int:
    return int(json.loads(ended.answer)["peak_bytes"])


def test_a_child_that_answered_takes_the_next_order_and_one_that_crashed_does_not(
    child: Child,
) -> None:
    children = SandboxProcesses(child(SURVIVOR))
    first = children.run(SandboxRequest("m", 1, "/p", 1))
    refused = children.run(SandboxRequest("m", 7, "/p", 1))
    assert _process(refused) == _process(first)
    assert children.run(SandboxRequest("m", 13, "/p", 1)).code == -signal.SIGABRT
    fresh = children.run(SandboxRequest("m", 2, "/p", 1))
    assert _process(fresh) != _process(first)
    children.close()


def test_a_child_does_not_wait_for_ever_for_another_order(child: Child) -> None:
    settings = replace(child(SURVIVOR), idle=0.2)
    process = _process(SandboxProcesses(settings).run(SandboxRequest("m", 1, "/p", 1)))
    deadline = time.monotonic() + 60
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{process}").exists()


def test_a_child_that_died_while_it_waited_is_not_given_an_order(child: Child) -> None:
    children = SandboxProcesses(child(SURVIVOR))
    first = _process(children.run(SandboxRequest("m", 1, "/p", 1)))
    os.kill(first, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # somebody else saw it die
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert _process(children.run(SandboxRequest("m", 2, "/p", 1))) != first
    children.close()


# ---- what the end of a child means ---------------------------------------------------------------------------------


def test_an_answer_does_not_count_when_the_child_crashed_after_it() -> None:
    error = load_error(REQUEST, SandboxResult(-signal.SIGSEGV, FINE, "", 1.0))
    assert error is not None
    assert "crashed (SIGSEGV)" in error.message


def test_an_unknown_code_and_an_unknown_signal_are_still_errors() -> None:
    answer = json.dumps({"ok": False, "code": 77, "message": "?"}).encode()
    error = load_error(REQUEST, SandboxResult(0, answer, "", 1.0))
    assert error is not None
    assert error.code is Code.UNKNOWN
    error = load_error(REQUEST, SandboxResult(-63, b"", "", 1.0))
    assert error is not None
    assert "signal 63" in error.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\ntwo\n", "two"),
        ("what():  vector\n    @ 0x7f abort\n", "what():  vector"),
        ('{"event": "Error of another kind"}\nlast\n', "last"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_last_words(text: str, words: str) -> None:
    assert last_words(text) == words


def test_orders_survive_the_pipe() -> None:
    assert SandboxRequest.decode(REQUEST.encode()) == REQUEST
    assert REQUEST.encode().count(b"\n") == 1
