"""What is free, read from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from slipway_server.servables.memory import free_memory


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
