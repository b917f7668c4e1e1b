"""§1.1 `--flush_filesystem_caches`: every file of a version is dropped from the page cache, and nothing can fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway_server.servables.memory import forget_files


def test_every_file_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("saved_model.pb", "variables/variables.index", "assets/a/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    dropped: list[tuple[str, int, int, int]] = []

    def advise(descriptor: int, start: int, length: int, advice: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        dropped.append((str(path.relative_to(tmp_path)), start, length, advice))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    forget_files(tmp_path)
    whole = (0, 0, os.POSIX_FADV_DONTNEED)
    assert sorted(dropped) == [
        ("assets/a/b", *whole),
        ("saved_model.pb", *whole),
        ("variables/variables.index", *whole),
    ]


def test_what_cannot_be_dropped_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: an ordinary open would wait for ever
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    forget_files(tmp_path)
    forget_files(tmp_path / "gone")
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
