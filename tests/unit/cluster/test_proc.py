"""What /proc says, parsed."""

import os

from cluster import proc


def test_a_command_with_spaces_and_parentheses_ends_at_the_last_one() -> None:
    numbers = " ".join(str(n) for n in range(1, 40))
    stat = proc.parse_stat(f"4711 (a) b (c)) S 12 {numbers}\n")
    assert stat == proc.Stat(pid=4711, command="a) b (c)", state="S", parent=12, started=18)
    assert stat.running


def test_a_zombie_does_not_run() -> None:
    assert not proc.parse_stat("7 (x) Z 1 " + "0 " * 40).running


def test_environment_values_may_hold_equal_signs() -> None:
    assert proc.parse_environment(b"A=1\0B=x=y\0broken\0C=\0") == {"A": "1", "B": "x=y", "C": ""}


def test_cgroup_paths_may_hold_colons() -> None:
    text = "9:name=systemd:/a\n4:memory:/cri-containerd:x:y\n0::/\n"
    assert proc.parse_cgroups(text) == ("/a", "/cri-containerd:x:y", "/")


def test_this_process_is_found_with_its_environment() -> None:
    me = next(process for process in proc.processes() if process.stat.pid == os.getpid())
    assert proc.stat(os.getpid()) == me.stat
    assert me.environment["PATH"] == os.environ["PATH"]
    assert proc.resident_bytes(os.getpid()) > 1_000_000


def test_a_process_that_is_not_there_is_none() -> None:
    assert proc.stat(2**22 + 1) is None
    assert proc.resident_bytes(2**22 + 1) == 0
