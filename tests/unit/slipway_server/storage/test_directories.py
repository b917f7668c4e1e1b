"""What lies in a version's directory: its size, whether it changes, and walks that come to an end (§3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_server.storage import directories
from slipway_server.storage.directories import file_bytes, fingerprint, walk


@pytest.fixture
def version(tmp_path: Path) -> Path:
    (tmp_path / "v" / "variables").mkdir(parents=True)
    (tmp_path / "v" / "a").write_bytes(b"1234")
    (tmp_path / "v" / "variables" / "b").write_bytes(b"123456")
    return tmp_path / "v"


def test_the_size_of_a_version(version: Path) -> None:
    assert file_bytes(str(version)) == 10
    with pytest.raises(OSError, match="No such file"):
        file_bytes(f"{version}/w")


def test_links_inside_a_version(version: Path, tmp_path: Path) -> None:
    """Files count, folders are not entered, and what leads nowhere is no reason to refuse the version."""
    (tmp_path / "shared").write_bytes(b"123")
    for name, target in (
        ("file", "../shared"),
        ("loop", "loop"),
        ("gone", "gone/too"),
        ("up", ".."),
        ("all", "/"),
    ):
        (version / name).symlink_to(target)
    assert file_bytes(str(version)) == 13
    assert sorted(entry.name for entry in walk(str(version))) == [
        *("a", "all", "b", "file", "gone", "loop", "up"),
    ]


def test_what_changes_a_fingerprint(version: Path, tmp_path: Path) -> None:
    seen = [fingerprint(str(version))]

    def changed() -> bool:
        seen.append(fingerprint(str(version)))
        return seen[-1] != seen[-2]

    assert not changed()
    (version / "variables" / "b").write_bytes(b"1234567")
    assert changed()
    (version / "c").touch()
    assert changed()
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    (version / "assets").symlink_to("../old")
    assert changed()
    (version / "next").symlink_to("../new")
    (version / "next").rename(version / "assets")
    assert changed(), "the folder that a link leads to was exchanged"
    assert not changed()


def test_a_walk_is_bounded_in_width_and_depth(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "MAX_ENTRIES", 50)
    for number in range(200):
        (version / f"f{number}").touch()
    assert len(list(walk(str(version)))) <= 50
    assert fingerprint(str(version)) == fingerprint(str(version))
    deep = version / "variables"
    for _ in range(300):
        deep /= "d"
    deep.mkdir(parents=True)
    assert len(list(walk(str(version / "variables")))) <= 50


def test_the_whole_file_system_is_walked_in_part() -> None:
    assert len(list(walk("/"))) <= directories.MAX_ENTRIES
