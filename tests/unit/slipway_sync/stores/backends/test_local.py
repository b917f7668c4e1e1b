"""Exports in a local directory."""

import asyncio
import os
from pathlib import Path

import pytest

from slipway_sync.exports import ObjectInfo, Verdict, revision
from slipway_sync.stores import (
    LocalStore,
    ObjectReplacedError,
    SourceError,
    StoreOptions,
    open_store,
    prove,
)
from small_exports import contents, write


def test_children_are_directories(tmp_path: Path) -> None:
    (tmp_path / "2").mkdir()
    (tmp_path / "10").mkdir()
    (tmp_path / "3").write_bytes(b"")
    (tmp_path / "latest").symlink_to("2")
    assert asyncio.run(LocalStore(tmp_path).children()) == ("10", "2", "latest")


def test_a_path_with_escapes_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a b" / "1").mkdir(parents=True)
    store = open_store(f"file://{tmp_path}/a%20b", StoreOptions())
    assert asyncio.run(store.children()) == ("1",)


def test_a_listing_holds_files_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "1", contents())
    os.mkfifo(tmp_path / "1" / "pipe")
    (tmp_path / "1" / "loop").symlink_to(tmp_path / "1", target_is_directory=True)
    (tmp_path / "1" / "dangling").symlink_to("nowhere")
    store = LocalStore(tmp_path)
    listing = asyncio.run(store.listing("1"))
    assert [item.path for item in listing] == sorted(contents())
    assert {item.path: item.size for item in listing} == {
        path: len(content) for path, content in contents().items()
    }
    assert asyncio.run(prove(store, "1", listing)).verdict is Verdict.COMPLETE
    assert asyncio.run(store.listing("2")) == ()


def test_a_name_that_is_no_text_is_hostile(tmp_path: Path) -> None:
    write(tmp_path / "1", contents())
    Path(os.fsdecode(os.fsencode(tmp_path / "1") + b"/\xff")).write_bytes(b"")
    store = LocalStore(tmp_path)
    listing = asyncio.run(store.listing("1"))
    assert asyncio.run(prove(store, "1", listing)).reason == "HostileKey"
    assert revision(listing)


def test_the_revision_changes_when_a_file_is_written_again(tmp_path: Path) -> None:
    write(tmp_path / "1", {"a": b"one"})
    store = LocalStore(tmp_path)
    before = asyncio.run(store.listing("1"))
    (tmp_path / "new").write_bytes(b"two")
    (tmp_path / "new").replace(tmp_path / "1" / "a")
    assert revision(asyncio.run(store.listing("1"))) != revision(before)


async def streamed(store: LocalStore, item: ObjectInfo) -> bytes:
    return b"".join([chunk async for chunk in store.stream("1", item, start=0, length=item.size)])


@pytest.mark.parametrize("new", [b"two", b"longer", b"", None])
def test_a_file_that_is_not_the_listed_one_is_noticed(tmp_path: Path, new: bytes | None) -> None:
    write(tmp_path / "1", {"a": b"one"})
    store = LocalStore(tmp_path)
    (item,) = asyncio.run(store.listing("1"))
    assert asyncio.run(streamed(store, item)) == b"one"
    (tmp_path / "1" / "a").unlink()
    if new is not None:
        write(tmp_path / "1", {"a": new})
    with pytest.raises(ObjectReplacedError):
        asyncio.run(streamed(store, item))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "none")
    for operation in (store.children, lambda: store.listing("1"), lambda: store.read("1", "a")):
        with pytest.raises(SourceError, match="does not exist") as caught:
            asyncio.run(operation())
        assert caught.value.reason == "NotFound"


def test_an_export_is_deleted_with_its_folders_and_nothing_else(tmp_path: Path) -> None:
    for name in ("1/saved_model.pb", "1/variables/a", "10/saved_model.pb"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    store = LocalStore(tmp_path)
    asyncio.run(store.delete("1", ["saved_model.pb", "variables/a", "gone"]))
    asyncio.run(store.delete_folders("1"))
    with pytest.raises(SourceError, match=r"holds '\.\.'"):
        asyncio.run(store.delete("1", ["../10/saved_model.pb"]))
    assert asyncio.run(store.children()) == ("10",)
    assert [item.path for item in asyncio.run(store.listing("10"))] == ["saved_model.pb"]


def test_folders_that_still_hold_something_stay(tmp_path: Path) -> None:
    path = tmp_path / "1" / "variables" / "late"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    asyncio.run(LocalStore(tmp_path).delete_folders("1"))
    assert path.exists()
