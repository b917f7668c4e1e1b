"""Programs of the cluster are built once, whoever asks, and only when they must be."""

import os
import subprocess
import sys
from pathlib import Path

from cluster.paths import REPOSITORY
from cluster.tools import golang


def finders(cache: Path, name: str, count: int) -> list[str]:
    """What each of several processes says that look for the same tool at once."""
    go = golang.find()
    go_cache = subprocess.run(
        [go.program, "env", "GOCACHE"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "e2e"),
        "XDG_CACHE_HOME": str(cache),
        "GOCACHE": go_cache,
        "SLIPWAY_TOOLS": "",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "cluster", "which", name],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    said = []
    for process in running:
        output, progress = process.communicate(timeout=120)
        assert process.returncode == 0, progress
        path = Path(output.strip())
        assert path.is_relative_to(cache)
        assert os.access(path, os.X_OK)
        said.append(progress)
    return said


def test_of_several_at_once_one_builds_and_the_others_wait(tmp_path: Path) -> None:
    said = finders(tmp_path, "pause", 3)
    assert sum("build pause …" in text for text in said) == 1
    assert finders(tmp_path, "pause", 1) == [""]
    left = [p.name for p in (tmp_path / "slipway" / "tools").rglob("*") if p.is_file()]
    assert sorted(left) == ["build.lock", "pause"]


def test_a_failed_build_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "go"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\n[ "$1" = env ] && echo go1.26.0 && exit\necho no such module; exit 1\n'
    )
    fake.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "cluster", "which", "pause"],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY / "e2e"),
            "XDG_CACHE_HOME": str(tmp_path),
            "SLIPWAY_TOOLS": "",
            "PATH": f"{fake.parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "error: building pause failed (1):\n  | no such module" in done.stderr
    left = [p.name for p in (tmp_path / "slipway" / "tools").rglob("*") if p.is_file()]
    assert left == ["build.lock"]
