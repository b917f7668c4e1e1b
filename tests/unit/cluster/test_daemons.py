"""Background programs are told by pid and start time, and end when they are told to."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import proc
from cluster.daemons import OWNER, Daemon, Program, end_process
from cluster.errors import ComponentError
from cluster.probes import until

SLEEP = Program("sleeper", ("/bin/sleep", "60"), {"COLOUR": "green"})
# Says when it can no longer be ended by asking; what is ignored stays ignored over exec.
STUBBORN = Program("stubborn", ("/bin/sh", "-c", "trap '' TERM; echo deaf; exec sleep 60"))


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(SLEEP, tmp_path, dies_with_parent=True)
    yield daemon
    daemon.kill()


def test_a_program_gets_its_own_environment_and_its_owners_mark(
    sleeper: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for it")
    sleeper.start()
    started = sleeper.pid
    sleeper.wait_ready(lambda: _is_sleep(started), within=5, sign="running")
    found = next(p for p in proc.processes() if p.stat.pid == started)
    assert found.environment["COLOUR"] == "green"
    assert found.environment[OWNER] == str(sleeper.state)
    assert "AWS_SECRET_ACCESS_KEY" not in found.environment


def test_another_process_finds_it_and_starts_no_second_one(sleeper: Daemon) -> None:
    sleeper.start()
    other = Daemon(SLEEP, sleeper.state)
    other.start()
    assert other.pid == sleeper.pid
    other.stop()
    assert not sleeper.alive


def test_one_that_does_not_listen_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    daemon = Daemon(STUBBORN, tmp_path, dies_with_parent=True)
    daemon.start()
    daemon.wait_ready(lambda: "deaf" in daemon.log.read_text(), within=5, sign="deaf")
    daemon.stop(grace=0.1)
    assert not daemon.alive


def test_a_pid_that_was_given_to_another_process_is_left_alone(sleeper: Daemon) -> None:
    sleeper.start()
    pid = sleeper.pid
    assert pid is not None
    record = sleeper.state / "run" / "sleeper.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "started": content["started"] - 1}))
    stranger = Daemon(SLEEP, sleeper.state)
    assert not stranger.alive
    stranger.kill()
    found = proc.stat(pid)
    assert found is not None
    assert found.running
    assert end_process(pid, found.started - 1, (signal.SIGKILL, 1.0))
    assert proc.stat(pid) == found
    record.write_text(json.dumps(content))


def test_a_record_of_another_boot_is_of_no_process(sleeper: Daemon) -> None:
    sleeper.start()
    record = sleeper.state / "run" / "sleeper.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "boot": "earlier"}))
    assert not Daemon(SLEEP, sleeper.state).alive
    record.write_text(json.dumps(content))


def test_one_that_ends_early_is_reported_with_its_own_words(tmp_path: Path) -> None:
    daemon = Daemon(Program("brief", ("/bin/sh", "-c", "echo no space; exit 3")), tmp_path)
    daemon.start()
    with pytest.raises(ComponentError, match=r"brief ended before it was ready\n(.|\n)*no space"):
        daemon.wait_ready(lambda: False, within=10, sign="ready")


def test_one_that_is_never_ready_is_reported_in_time(sleeper: Daemon) -> None:
    sleeper.start()
    with pytest.raises(ComponentError, match="sleeper was not ready within 0 s"):
        sleeper.wait_ready(lambda: False, within=0.1, sign="ready")


def test_ending_a_process_that_is_not_there_succeeds() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert end_process(child.pid, 1, (signal.SIGKILL, 1.0))


def _is_sleep(pid: int | None) -> bool:
    found = None if pid is None else proc.stat(pid)
    return found is not None and found.command == "sleep"


def test_a_process_has_ended_only_with_its_last_thread() -> None:
    # The first thread ends and leaves a zombie by name; another one lives on and holds what it holds.
    program = (
        "import threading, time, ctypes;"
        "threading.Thread(target=time.sleep, args=(60,)).start();"
        "print('ready', flush=True);"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        until(lambda: _state(child.pid) == "Z", within=5)
        found = proc.stat(child.pid)
        assert found is not None
        assert not end_process(child.pid, found.started, (signal.SIGURG, 0.1))
        assert end_process(child.pid, found.started, (signal.SIGKILL, 5.0))
        assert child.wait() == -signal.SIGKILL


def _state(pid: int) -> str:
    found = proc.stat(pid)
    return "" if found is None else found.state
