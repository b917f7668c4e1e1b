"""What is free, read from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_server.servables.memory import free_memory, memory_limit


def _write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)


def _machine(tmp_path: Path, group: str) -> Path:
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    (proc / "self" / "cgroup").write_text(f"0::{group}\n")
    return proc


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert free_memory(tmp_path / "none", _machine(tmp_path, "/")) == 8000 * 1024


def test_in_a_container_the_limit_lies_at_the_root(tmp_path: Path) -> None:
    _write(
        tmp_path / "cg", memory_max="1000000\n", memory_current="900000\n", memory_stat="anon 1\n"
    )
    assert free_memory(tmp_path / "cg", _machine(tmp_path, "/")) == 100000


def test_the_tightest_group_above_counts_and_file_cache_is_free(tmp_path: Path) -> None:
    _write(tmp_path / "cg" / "a" / "b", memory_max="max\n", memory_current="5\n", memory_stat="")
    _write(
        tmp_path / "cg" / "a",
        memory_max="1000000\n",
        memory_current="900000\n",
        memory_stat="anon 5\ninactive_file 200000\n",
    )
    assert free_memory(tmp_path / "cg", _machine(tmp_path, "/a/b")) == 300000


def test_never_less_than_nothing(tmp_path: Path) -> None:
    _write(tmp_path / "cg", memory_max="10\n", memory_current="900\n", memory_stat="")
    assert free_memory(tmp_path / "cg", _machine(tmp_path, "/")) == 0


V1_UNLIMITED = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/\n", {}, 9000 * 1024),
        ("0::/\n", {"memory.max": "max\n"}, 9000 * 1024),
        ("0::/\n", {"memory.max": "1000000\n"}, 1000000),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "700000\n"}, 700000),
        ("0::/a/b\n", {"a/b/memory.max": "600000\n", "a/memory.max": "700000\n"}, 600000),
        # Version 1: the path is the host's, the files are the container's own at the root.
        (
            "5:cpu,cpuacct:/kubepods/x\n4:memory:/kubepods/x\n",
            {"memory/memory.limit_in_bytes": "500000\n"},
            500000,
        ),
        (
            "4:memory:/kubepods/x\n0::/\n",
            {
                "memory/memory.limit_in_bytes": V1_UNLIMITED,
                "memory/kubepods/x/memory.limit_in_bytes": "400000\n",
            },
            400000,
        ),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": V1_UNLIMITED}, 9000 * 1024),
        # More than the machine has is no limit; what is no number says nothing.
        ("0::/\n", {"memory.max": "99000000000\n"}, 9000 * 1024),
        ("0::/\n", {"memory.max": "-1\n"}, 9000 * 1024),
        ("", {}, 9000 * 1024),
    ],
)
def test_the_limit_of_the_container_or_of_the_machine(
    tmp_path: Path, groups: str, files: dict[str, str], limit: int
) -> None:
    proc = _machine(tmp_path, "/")
    (proc / "self" / "cgroup").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "cg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory_limit(tmp_path / "cg", proc) == limit


def test_nobody_says_how_much_there_is(tmp_path: Path) -> None:
    assert memory_limit(tmp_path / "none", tmp_path / "none") == 0
