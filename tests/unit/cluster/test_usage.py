"""A node that one process uses is not taken away by another one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.node import usage
from cluster.paths import REPOSITORY


@contextmanager
def user_of(state: Path) -> Iterator[subprocess.Popen[str]]:
    program = (
        "import sys, pathlib; from cluster.node import usage;"
        "usage.hold(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, state],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "e2e")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cluster"
    usage.release(tmp_path / "cluster")


def test_another_user_is_named(state: Path) -> None:
    with (
        user_of(state) as user,
        pytest.raises(ClusterError, match=rf"uses the local cluster: pid {user.pid} \(python"),
        usage.alone(state),
    ):
        pytest.fail("the other one still uses it")


def test_force_goes_ahead(state: Path) -> None:
    with user_of(state), usage.alone(state, force=True):
        pass


def test_a_killed_user_is_none(state: Path) -> None:
    with user_of(state) as user:
        user.kill()
        user.wait()
        with usage.alone(state):
            pass


def test_several_may_use_it_and_ones_own_use_is_no_obstacle(state: Path) -> None:
    usage.hold(state)
    usage.hold(state)
    with user_of(state):
        pass
    with usage.alone(state):
        pass


def test_holders_are_told_by_the_files_number() -> None:
    locks = (
        "1: FLOCK  ADVISORY  READ 31 fe:00:4711 0 EOF\n"
        "2: FLOCK  ADVISORY  READ 32 fe:00:4712 0 EOF\n"
        "3: POSIX  ADVISORY  WRITE 33 fe:00:4711 0 EOF\n"
        "1: -> FLOCK  ADVISORY  WRITE 34 fe:00:4711 0 EOF\n"
        "4: FLOCK  ADVISORY  READ 35 fe:00:4711 0 EOF\n"
    )
    assert usage.lock_holders(locks, 4711) == (31, 35)
