"""Programs that run in the background, found again by pid and start time, never by name."""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from cluster import proc
from cluster.errors import ComponentError

OWNER = "SLIPWAY_CLUSTER_STATE"
"""Set to the state folder in every program's environment: a lost one can be told as ours."""

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLL_SECONDS = 0.05

# The kernel sends the parent-death signal when the *thread* that forked ends, so one thread that
# lives as long as this process does all the forking.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. The environment is whole: nothing of the caller's leaks in."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of one boot."""

    pid: int
    started: int
    boot: str


class _Child(subprocess.Popen[bytes]):
    """A child that may well outlive this object, which Popen would warn about."""

    @override
    def __del__(self) -> None:
        """Leaves the program alone."""


class Daemon:
    """A program with a pid file and a log under a state folder."""

    def __init__(self, program: Program, state: Path, *, dies_with_parent: bool = False) -> None:
        self.program = program
        self.state = state
        self.log = state / "logs" / f"{program.name}.log"
        self._record = state / "run" / f"{program.name}.json"
        self._dies_with_parent = dies_with_parent
        self._child: _Child | None = None

    @property
    def pid(self) -> int | None:
        """The pid while the program runs."""
        identity = self._identity()
        return identity.pid if identity and self._is_running(identity) else None

    @property
    def alive(self) -> bool:
        return self.pid is not None

    def start(self) -> None:
        """Starts the program unless it runs. Says nothing about whether it is ready."""
        if self.alive:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._record.parent.mkdir(parents=True, exist_ok=True)
        argv = list(self.program.argv)
        if self._dies_with_parent:
            argv = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", *argv]
        child = _spawner.submit(self._spawn, argv).result()
        self._child = child
        started = proc.stat(child.pid)
        identity = Identity(child.pid, started.started if started else 0, proc.boot_id())
        text = json.dumps({"pid": identity.pid, "started": identity.started, "boot": identity.boot})
        draft = self._record.with_suffix(".new")
        draft.write_text(text + "\n")
        draft.rename(self._record)

    def wait_ready(self, check: Callable[[], bool], *, within: float, sign: str) -> None:
        """Waits until the check holds.

        Args:
            check: asked every 50 ms; must not raise.
            within: seconds.
            sign: what is waited for, to complete "was not … within".

        Raises:
            ComponentError: the program ended, or the time is over; with the end of its log.
        """
        deadline = time.monotonic() + within
        while not check():
            if not self.alive:
                raise ComponentError(self.program.name, f"ended before it was {sign}", self.log)
            if time.monotonic() > deadline:
                problem = f"was not {sign} within {within:.0f} s"
                raise ComponentError(self.program.name, problem, self.log)
            time.sleep(POLL_SECONDS)

    def stop(self, *, grace: float = 3.0) -> None:
        """Asks the program to end, and after the grace period (seconds) makes it."""
        self._end((signal.SIGTERM, grace), (signal.SIGKILL, 10.0))

    def kill(self) -> None:
        """Ends the program at once, as a crash would."""
        self._end((signal.SIGKILL, 10.0))

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the program if it runs."""
        identity = self._identity()
        if identity and self._is_running(identity):
            os.kill(identity.pid, number)

    def _spawn(self, argv: list[str]) -> _Child:
        environment = {
            "PATH": SYSTEM_PATH,
            "LANG": "C.UTF-8",
            **self.program.environment,
            OWNER: str(self.state),
        }
        with self.log.open("ab") as log:
            return _Child(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environment,
                start_new_session=True,
            )

    def _end(self, *escalation: tuple[signal.Signals, float]) -> None:
        identity = self._identity()
        if identity and self._is_running(identity):
            end_process(identity.pid, identity.started, *escalation)
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=1.0)
        self._record.unlink(missing_ok=True)

    def _identity(self) -> Identity | None:
        try:
            content = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return Identity(content["pid"], content["started"], content["boot"])

    def _is_running(self, identity: Identity) -> bool:
        if self._child is not None and self._child.pid == identity.pid:
            return self._child.poll() is None
        found = proc.stat(identity.pid)
        return (
            found is not None
            and found.running
            and found.started == identity.started
            and identity.boot == proc.boot_id()
        )


def end_process(pid: int, started: int, *escalation: tuple[signal.Signals, float]) -> bool:
    """Sends each signal in turn, waiting its seconds for the process to end.

    Works through a pid file descriptor: another process that gets the same pid is never hit, and
    the end is that of its last thread. /proc calls it a zombie already when the first one is gone,
    while the others still hold its ports.

    Returns:
        Whether the process is gone.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        found = proc.stat(pid)
        if found is None or found.started != started:
            return True
        gone = select.poll()
        gone.register(descriptor, select.POLLIN)
        for number, seconds in escalation:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if gone.poll(seconds * 1000):
                return True
        return False
    finally:
        os.close(descriptor)
