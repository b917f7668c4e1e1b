"""What CI runs: both commands, the first failure ends it, and the cluster is taken down in any case."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def stand_in(folder: Path, *cases: str) -> dict[str, str]:
    """An environment in which `make` writes down what it was asked for, then does the case's."""
    program = folder / "make"
    listed = "\n".join([*cases, "*) ;;"])
    program.write_text(f'#!/bin/bash\necho "$1" >> "{folder}/asked"\ncase $1 in\n{listed}\nesac\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().split()


def test_check_and_test_are_run_at_the_same_time(tmp_path: Path) -> None:
    meet = f"n=0; until [ -e {tmp_path}/met ]; do n=$((n+1)); [ $n -lt 100 ] || exit 1; sleep 0.1; done"
    environment = stand_in(tmp_path, f"check) {meet};;", f"test) touch {tmp_path}/met;;")
    subprocess.run([ROOT / ".ci" / "run"], env=environment, timeout=30, check=True)
    assert asked(tmp_path)[0] == "setup"
    assert sorted(asked(tmp_path)[1:3]) == ["check", "test"]
    assert asked(tmp_path)[3:] == ["cluster-down"]


@pytest.mark.parametrize(("fails", "runs_on"), [("check", "test"), ("test", "check")])
@pytest.mark.parametrize("after", ["0", "0.5"])
def test_the_first_failure_ends_the_other(
    tmp_path: Path, fails: str, runs_on: str, after: str
) -> None:
    environment = stand_in(
        tmp_path, f"{fails}) sleep {after}; exit 2;;", f"{runs_on}) sleep 60 & wait;;"
    )
    begun = time.monotonic()
    done = subprocess.run([ROOT / ".ci" / "run"], env=environment, timeout=30, check=False)
    assert done.returncode == 2
    assert time.monotonic() - begun < 20
    assert asked(tmp_path)[-1] == "cluster-down"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_takes_the_cluster_down(tmp_path: Path, number: signal.Signals) -> None:
    environment = stand_in(tmp_path, f"test) touch {tmp_path}/begun; sleep 60 & wait;;")
    with subprocess.Popen([ROOT / ".ci" / "run"], env=environment) as run:
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        run.send_signal(number)
        assert run.wait(20) != 0
    assert asked(tmp_path)[-1] == "cluster-down"
