"""Builds run beside a command, and none of them outlives it when it ends early."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import images, prepare, proc, tools
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY
from cluster.prepare import Build

LONG_BUILD = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
subprocess.run(["sh", "-c", 'echo $$ > "$0"; exec sleep 300', sys.argv[1]])
"""
"""A build that has started a program of its own, as `python -m cluster tools` starts Go."""

COMMAND_LINE = """
import pathlib, sys
from cluster import __main__ as cli, paths, prepare
paths.LOGS = pathlib.Path(sys.argv.pop(1))
build = prepare.Build("stand-in", tuple(sys.argv.pop(1).split("|")))
prepare.needed = lambda: (build,)
cli.main()
"""


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shell(text: str) -> tuple[str, ...]:
    return ("sh", "-ec", text)


def runs(pid: int) -> bool:
    found = proc.stat(pid)
    return found is not None and found.running


def test_builds_run_side_by_side_and_beside_the_command(tmp_path: Path) -> None:
    meet = shell(
        f"touch {tmp_path}/$0; n=0;"
        f"while [ ! -e {tmp_path}/$1 ]; do n=$((n+1)); [ $n -lt 200 ]; sleep 0.1; done"
    )
    builds = [
        Build("tools", (*meet, "tools", "images")),
        Build("images", (*meet, "images", "tests")),
    ]
    assert prepare.run(builds, (*meet, "tests", "tools"), logs=tmp_path / "logs") == 0


def test_a_command_that_ends_first_waits_for_the_builds(tmp_path: Path) -> None:
    built = tmp_path / "built"
    builds = [Build("tools", shell(f"sleep 1; touch {built}"))]
    assert prepare.run(builds, ["true"], logs=tmp_path) == 0
    assert built.exists()


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("kill -KILL $$", 137)])
def test_a_command_that_fails_ends_the_builds_with_what_they_started(
    tmp_path: Path, command: str, code: int
) -> None:
    child = tmp_path / "child"
    build = Build("tools", (sys.executable, "-c", LONG_BUILD, str(child)))
    waiting = f"while [ ! -s {child} ]; do sleep 0.1; done; {command}"
    assert prepare.run([build], shell(waiting), logs=tmp_path) == code
    until(lambda: not runs(int(child.read_text())))


def test_a_build_that_fails_shows_its_log_at_once_and_at_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    builds = [Build("tools", shell("echo no such module; exit 1"))]
    finished = tmp_path / "finished"
    with pytest.raises(ClusterError, match=r"(?s)building the tools failed.*\| no such module"):
        prepare.run(builds, shell(f"sleep 1; touch {finished}"), logs=tmp_path)
    assert finished.exists(), "tests that need no build are run to their end"
    said = capfd.readouterr().err
    assert "building the tools failed" in said
    assert "| no such module" in said


def test_tests_run_beside_the_command_and_are_printed_whole(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "begun"
    build = prepare.tests(f"touch {begun}; for n in $(seq 100); do echo line $n; done")
    assert build.niceness == 0
    waiting = f"while [ ! -e {begun} ]; do sleep 0.1; done; echo mine"
    assert prepare.run([build], shell(waiting), logs=tmp_path) == 0
    said = capfd.readouterr()
    assert said.out.splitlines() == ["mine", *(f"line {n}" for n in range(1, 101))]
    assert "tests that need a cluster in the background: " in said.err


def test_tests_that_fail_beside_the_command_are_printed_and_fail_the_whole(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    build = prepare.tests("for n in $(seq 100); do echo line $n; done; exit 1")
    with pytest.raises(ClusterError, match="the tests that need a cluster failed"):
        prepare.run([build], ["true"], logs=tmp_path)
    assert "line 1\n" in capfd.readouterr().out


def test_nothing_is_started_where_everything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "missing", lambda: ())
    monkeypatch.setattr(images, "outdated", lambda: ())
    assert prepare.needed() == ()
    assert prepare.run((), ["true"], logs=tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_missing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "missing", lambda: ("etcd",))
    monkeypatch.setattr(images, "outdated", lambda: ())
    assert [build.argv[1:] for build in prepare.needed()] == [("-m", "cluster", "tools")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_build_outlives_the_program_that_started_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    child, begun = tmp_path / "child", tmp_path / "begun"
    build = "|".join((sys.executable, "-c", LONG_BUILD, str(child)))
    command = shell(f"echo $$ > {begun}; exec sleep 2")
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND_LINE, str(tmp_path), build, "prepare", "--", *command],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "e2e")},
        stderr=subprocess.PIPE,
    ) as program:
        until(lambda: all(file.exists() and file.read_text() for file in (child, begun)))
        program.send_signal(number)
        program.wait(20)
    assert program.returncode != 0
    until(lambda: not runs(int(child.read_text())))
    # A terminal interrupts the command too; here it got no signal, and is waited for.
    assert number == signal.SIGKILL or not runs(int(begun.read_text()))


INTERRUPTED_START = """
import os, pathlib, signal, subprocess, sys
from cluster import prepare
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
start = subprocess.Popen.__init__
def interrupted(process, *of, **options):
    start(process, *of, **options)
    pathlib.Path(sys.argv[1], "pid").write_text(str(process.pid))
    os.kill(os.getpid(), signal.SIGTERM)
subprocess.Popen.__init__ = interrupted
prepare.run((), ("sleep", "60"), logs=pathlib.Path(sys.argv[1]))
"""


def test_a_command_is_ended_by_a_signal_that_comes_while_it_is_started(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_START, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "e2e")},
        check=False,
    )
    started = int((tmp_path / "pid").read_text())
    outlived = runs(started)
    if outlived:
        os.kill(started, signal.SIGKILL)
    assert (done.returncode, outlived) == (128 + signal.SIGTERM, False)


def test_a_dry_run_of_make_test_starts_nothing_and_shows_the_order() -> None:
    done = subprocess.run(
        ["make", "-n", "test"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    parts = ("tests/unit", "tests/contracts", "test_server_", "--ignore=", "e2e/scenarios")
    places = [done.stdout.index(part) for part in parts]
    assert places == sorted(places)
    assert "in the background" not in done.stdout + done.stderr
