"""The sandbox's child, as far as it needs no TensorFlow: its tie to the server, its limit of memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from slipway_server.loading.sandbox.processes import SandboxProcesses, SandboxSettings
from slipway_server.loading.sandbox.protocol import SandboxRequest, SandboxResult

TIED = """
import json, os, sys, time
from slipway_server.loading.sandbox import child_main
child_main._die_with(int(sys.argv[1]))
for line in sys.stdin.buffer:
    print(json.dumps({"ok": True, "peak_bytes": os.getpid()}), flush=True)
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
child.stdin.write(b"\\n")
child.stdin.flush()
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def _gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_the_child_is_killed_when_the_server_is() -> None:
    # The child's standard input stays open in a third process, so that its end is not what ends the child.
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, TIED], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        kept = os.open(f"/proc/{child}/fd/0", os.O_RDWR)
        try:
            assert not _gone(child)
            parent.kill()
            parent.wait()
            deadline = time.monotonic() + 60
            while not _gone(child) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert _gone(child)
        finally:
            os.close(kept)


def test_a_child_whose_server_is_gone_already_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TIED, "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1


def test_a_child_outlives_the_thread_that_asked_for_it() -> None:
    settings = SandboxSettings(
        (sys.executable, "-c", TIED, str(os.getpid())), b"", dict(os.environ), 60, 0, 1
    )
    children = SandboxProcesses(settings)
    answers: list[SandboxResult] = []
    for version in (1, 2):
        request = SandboxRequest("m", version, "/p", 1)
        thread = threading.Thread(
            target=lambda request=request: answers.append(children.run(request))
        )
        thread.start()
        thread.join()
        time.sleep(0.1)  # the kernel acts when the thread is gone, a moment after `join`
    children.close()
    assert answers[0].answer == answers[1].answer
    assert b'"ok": true' in answers[0].answer


@pytest.mark.parametrize(
    ("limit", "take", "said"),
    [
        (200 << 20, 1 << 20, "taken"),
        (200 << 20, 400 << 20, "MemoryError"),
        (1 << 20, 1, "ServingError: RESOURCE_EXHAUSTED: Loading in a child process may use"),
    ],
)
def test_no_more_memory_than_allowed(limit: int, take: int, said: str) -> None:
    program = f"""
from slipway_server.loading.sandbox import child_main
try:
    child_main.limit_memory({limit})
    bytearray({take})
    print("taken")
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith(said), done.stderr
