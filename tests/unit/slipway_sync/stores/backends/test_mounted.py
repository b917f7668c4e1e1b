"""Exports on a mounted volume that somebody else writes to."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway_sync.exports import Verdict, revision
from slipway_sync.stores import MountedStore, ObjectReplacedError, SourceError, not_a_file, prove
from small_exports import ASSET, contents, write

SECRET = b"not for models"


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A volume with version 1 of a model, and something beside the volume."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    write(tmp_path / "mount" / "team" / "digits" / "1", contents())
    return tmp_path / "mount"


@pytest.fixture
def store(mount: Path) -> MountedStore:
    return MountedStore(mount, "team/digits")


def test_an_export_is_listed_read_and_proven(store: MountedStore) -> None:
    assert asyncio.run(store.children()) == ("1",)
    listing = asyncio.run(store.listing("1"))
    assert {item.path: item.size for item in listing} == {
        path: len(content) for path, content in contents().items()
    }
    assert asyncio.run(store.read("1", ASSET, start=2, length=3)) == contents()[ASSET][2:5]
    assert asyncio.run(prove(store, "1", listing)).verdict is Verdict.COMPLETE
    assert not_a_file(listing) is None


def _link(path: Path) -> None:
    path.symlink_to("../../../../outside/secret")


def _absolute_link(path: Path) -> None:
    path.symlink_to(path.parents[4] / "outside" / "secret")


def _link_to_a_directory(path: Path) -> None:
    path.symlink_to("../../../../outside", target_is_directory=True)


def _link_inside(path: Path) -> None:
    path.symlink_to("saved_model.pb")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # The path of a socket may have 108 bytes.
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("put", "kind"),
    [
        (_link, "a symbolic link"),
        (_absolute_link, "a symbolic link"),
        (_link_to_a_directory, "a symbolic link"),
        (_link_inside, "a symbolic link"),
        (os.mkfifo, "a named pipe"),
        (_socket, "a socket"),
    ],
)
def test_what_is_no_file_is_named_and_never_opened(
    mount: Path, store: MountedStore, put: Callable[[Path], None], kind: str
) -> None:
    before = revision(asyncio.run(store.listing("1")))
    put(mount / "team" / "digits" / "1" / "odd")
    listing = asyncio.run(store.listing("1"))
    assert revision(listing) != before
    found = not_a_file(listing)
    assert found is not None
    assert (found.verdict, found.reason, found.object) == (Verdict.REJECTED, "NotAFile", "odd")
    assert kind in found.message
    for path in ("odd", "odd/secret"):
        with pytest.raises(SourceError):
            asyncio.run(store.read("1", path))


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\\b", "\u202eb", b"\xff", "C:b"])
def test_a_hostile_name_is_rejected_by_the_proof(
    mount: Path, store: MountedStore, name: str | bytes
) -> None:
    version = mount / "team" / "digits" / "1"
    Path(os.fsdecode(os.fsencode(version) + b"/" + os.fsencode(name))).write_bytes(b"")
    listing = asyncio.run(store.listing("1"))
    assert asyncio.run(prove(store, "1", listing)).reason == "HostileKey"


def test_directories_without_end_are_not_followed_without_end(
    mount: Path, store: MountedStore
) -> None:
    depth = 20
    inner = mount / "team" / "digits" / "1"
    for _ in range(depth):
        inner = inner / ("d" * 100)
    inner.mkdir(parents=True)
    (inner / "deep").write_bytes(b"")
    listing = asyncio.run(store.listing("1"))
    assert max(len(item.path) for item in listing) < 1200
    assert asyncio.run(prove(store, "1", listing)).reason == "HostileKey"


def test_links_in_place_of_versions_and_steps_are_not_followed(mount: Path) -> None:
    (mount / "team" / "digits" / "2").symlink_to("1", target_is_directory=True)
    (mount / "team" / "digits" / "3").write_bytes(b"")
    (mount / "elsewhere").symlink_to("../outside", target_is_directory=True)
    store = MountedStore(mount, "team/digits")
    assert asyncio.run(store.entries()) == (("1",), ("2", "3"))
    for path in ("elsewhere", "elsewhere/more"):
        with pytest.raises(SourceError, match="links are not followed") as caught:
            asyncio.run(MountedStore(mount, path).children())
        assert caught.value.reason == "InvalidSource"
    with pytest.raises(SourceError):
        asyncio.run(MountedStore(mount, "../outside").children())


def test_what_is_not_there_or_not_to_be_read_is_said(mount: Path) -> None:
    with pytest.raises(SourceError, match="does not exist") as caught:
        asyncio.run(MountedStore(mount, "team/none").children())
    assert caught.value.reason == "NotFound"
    with pytest.raises(SourceError, match="not a directory"):
        asyncio.run(MountedStore(mount, f"team/digits/1/{ASSET}").children())


def test_the_revision_is_the_same_on_every_node(mount: Path, store: MountedStore) -> None:
    """Not all file systems show the same inode numbers everywhere, all show size and time."""
    before = asyncio.run(store.listing("1"))
    version = mount / "team" / "digits" / "1"
    for item in before:
        copy = version / f"{item.path}.copy"
        found = (version / item.path).stat()
        copy.write_bytes((version / item.path).read_bytes())
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        copy.replace(version / item.path)
    assert revision(asyncio.run(store.listing("1"))) == revision(before)
    os.utime(version / ASSET, ns=(1, 1))
    assert revision(asyncio.run(store.listing("1"))) != revision(before)


def test_a_file_that_is_not_the_listed_one_is_noticed(mount: Path, store: MountedStore) -> None:
    item = next(i for i in asyncio.run(store.listing("1")) if i.path == ASSET)

    async def streamed() -> bytes:
        return b"".join(
            [chunk async for chunk in store.stream("1", item, start=0, length=item.size)]
        )

    assert asyncio.run(streamed()) == contents()[ASSET]
    (mount / "team" / "digits" / "1" / ASSET).write_bytes(b"x" * item.size)
    with pytest.raises(ObjectReplacedError):
        asyncio.run(streamed())
    (mount / "team" / "digits" / "1" / ASSET).unlink()
    with pytest.raises(ObjectReplacedError):
        asyncio.run(streamed())
