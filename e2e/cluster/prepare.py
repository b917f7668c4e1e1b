"""The cluster's programs and images, built beside a command that needs none of them.

Building them takes long on a bare machine, and half of the tests need no cluster: `make test` runs
those meanwhile. The other half mostly waits, for controllers and for time to pass: it runs beside them
as soon as its programs are there.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cluster import images, tools
from cluster.errors import ClusterError, quoted_tail
from cluster.progress import note, step

NICENESS = 10
"""The tests come first: builds take what they leave of the processors."""

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Build:
    """A program that runs in the background and ends.

    Attributes:
        name: What it builds.
        argv: The program and its arguments.
        niceness: How far it gives way to others.
        shown: Whether all of its output is printed when it ends, and not only the last lines when it fails.
    """

    name: str
    argv: tuple[str, ...]
    niceness: int = NICENESS
    shown: bool = False


@dataclass(frozen=True, slots=True)
class _Running:
    build: Build
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def failed(self) -> bool:
        return self.process.poll() not in (None, 0)

    @property
    def failure(self) -> str:
        what = (
            f"the {self.build.name} failed"
            if self.build.shown
            else f"building the {self.build.name} failed"
        )
        return f"{what}\n{quoted_tail(self.log)}"

    def show(self) -> None:
        if self.build.shown:
            with self.log.open("rb") as output:
                shutil.copyfileobj(output, sys.stdout.buffer)
            sys.stdout.flush()


def needed() -> tuple[Build, ...]:
    """The builds that are due: none where everything is built from this very tree.

    Raises:
        ClusterError: there is no Go, and programs that it would have to build.
    """
    due = {"tools": tools.missing(), "images": images.outdated()}
    return tuple(
        Build(name, (sys.executable, "-m", "cluster", name))
        for name, things in due.items()
        if things
    )


def tests(command: str) -> Build:
    """A shell command that tests something in the background, and as urgently as what it runs beside."""
    return Build("tests that need a cluster", ("sh", "-ec", command), niceness=0, shown=True)


def run(builds: Sequence[Build], command: Sequence[str], *, logs: Path) -> int:
    """Runs the command, and the builds side by side in the background; waits for all of them.

    What ends this early ends the builds too: a failed command, an interrupt, or SystemExit, which
    is what `python -m cluster` makes of a SIGTERM.

    Args:
        builds: each in a session of its own, with its log in `logs`.
        command: in the foreground; nothing when it is empty.
        logs: a folder; made when it is missing.

    Returns:
        The command's exit code as a shell tells it.

    Raises:
        ClusterError: the command succeeded and a build failed; with the end of its log.
    """
    with _started(builds, logs) as running:
        code = _foreground(command, running) if command else 0
        if code != 0:
            return code
        for one in running:
            if one.process.poll() is None:
                with step(f"wait for the {one.build.name} ({one.log})"):
                    one.process.wait()
            one.show()
            if one.failed:
                raise ClusterError(one.failure)
    return 0


@contextmanager
def _started(builds: Sequence[Build], logs: Path) -> Iterator[list[_Running]]:
    logs.mkdir(parents=True, exist_ok=True)
    running: list[_Running] = []
    try:
        for build in builds:
            running.append(_start(build, logs / f"prepare-{build.name.replace(' ', '-')}.log"))
            what = build.name if build.shown else f"building the {build.name}"
            note(f"  {what} in the background: {running[-1].log}")
        yield running
    finally:
        for one in running:
            _end(one.process)


def _start(build: Build, log: Path) -> _Running:
    # The build is told when this process is killed, which could not end it then.
    argv = ("setpriv", "--pdeathsig", "TERM", "--", "nice", "-n", str(build.niceness), *build.argv)
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return _Running(build, process, log)


@contextmanager
def _held() -> Iterator[set[int]]:
    """Signals that come meanwhile are dealt with afterwards; yields the mask from before.

    A `Popen` that a signal breaks off may have started its command already, and forgets it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _foreground(command: Sequence[str], running: Sequence[_Running]) -> int:
    told: set[str] = set()
    process = None
    try:
        with _held() as before:
            # `make -j` hands down the file descriptors of its job server.
            process = subprocess.Popen(
                command,
                close_fds=False,
                preexec_fn=lambda: signal.pthread_sigmask(  # noqa: PLW1509 (there is one thread)
                    signal.SIG_SETMASK, before
                ),
            )
        while process.poll() is None:
            for one in running:
                if one.failed and one.build.name not in told:
                    told.add(one.build.name)
                    note(f"  {one.failure}\n  `{shlex.join(command)}` is still running")
            time.sleep(POLL_SECONDS)
    except (KeyboardInterrupt, SystemExit) as end:
        if process and isinstance(end, SystemExit):  # A terminal interrupts the command by itself.
            process.terminate()
        for one in running:
            _end(one.process)
        if process:
            process.wait()  # It may clean up for a while.
        raise
    code = process.returncode
    return code if code >= 0 else 128 - code


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a build that still runs and its whole session, first by asking."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    # Looked at and not waited for: as long as it is a zombie, its number names no other group.
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, process.pid, options) is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
