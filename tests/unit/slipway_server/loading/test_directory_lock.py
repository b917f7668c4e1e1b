"""A version on a kept volume is locked while it is loaded."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway_server.errors import ServingError, not_found
from slipway_server.loading.directory_lock import LOCK_FILE, DirectoryLockLoader


class Recording:
    """Loads anything, unless it is told not to, and looks at the lock meanwhile."""

    def __init__(self, look: Callable[[], bool], error: ServingError | None = None) -> None:
        self._look = look
        self._error = error
        self.seen: list[bool] = []

    def load(self, model: str, version: int, path: str) -> object:
        self.seen.append(self._look())
        if self._error is not None:
            raise self._error
        return (model, version, path)

    def unload(self, content: object) -> None:
        assert content == ("m", 1, content[2])  # type: ignore[index]
        self.seen.append(self._look())


@pytest.fixture
def version(tmp_path: Path) -> Path:
    (tmp_path / LOCK_FILE).touch(0o644)
    return tmp_path


def is_open(version: Path) -> bool:
    """As the agent asks before it removes a version."""
    with (version / LOCK_FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_version_is_locked_from_before_it_is_loaded_until_it_is_unloaded(version: Path) -> None:
    inner = Recording(lambda: is_open(version))
    loader = DirectoryLockLoader(inner)
    first, second = loader.load("m", 1, str(version)), loader.load("m", 1, str(version))
    assert is_open(version)
    loader.unload(first)
    assert is_open(version), "another one has it open"
    loader.unload(second)
    assert not is_open(version)
    assert inner.seen == [True] * 4


def test_a_load_that_fails_lets_go(version: Path) -> None:
    loader = DirectoryLockLoader(Recording(lambda: is_open(version), not_found("no model")))
    with pytest.raises(ServingError, match="no model"):
        loader.load("m", 1, str(version))
    assert not is_open(version)


def test_a_directory_without_the_file_is_loaded_as_ever(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    loader = DirectoryLockLoader(Recording(lambda: False))
    loader.unload(loader.load("m", 1, str(tmp_path)))
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_volume_that_does_not_lock_is_loaded_from_all_the_same(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: object, _how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    loader = DirectoryLockLoader(Recording(lambda: True))
    content = loader.load("m", 1, str(version))
    loader.unload(content)


def test_a_lock_file_that_may_only_be_read_is_enough(version: Path) -> None:
    (version / LOCK_FILE).chmod(0o444)
    loader = DirectoryLockLoader(Recording(lambda: is_open(version)))
    content = loader.load("m", 1, str(version))
    assert is_open(version)
    loader.unload(content)
