"""One sync: what it leaves on the volume, and what it says."""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.fetch import file_check, transfer
from slipway_sync.agent.fetch.fetch import FetchRequest, Runtime, fetch
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.agent.volume import volume
from slipway_sync.agent.volume.filesystem import FileSystem
from slipway_sync.agent.volume.layout import Layout
from slipway_sync.exports import (
    PASSING,
    ExitCode,
    Listing,
    ObjectInfo,
    Requirements,
    SyncOutcome,
    revision,
)
from slipway_sync.stores import LocalStore, ObjectReplacedError, SourceError, Store
from slipway_sync.stores.base import Pages
from small_exports import ASSET, FILES, INDEX, SHARD_0, SHARD_1, contents, graph, tree, write

DIRECTORY = "00000003"


@dataclass
class World:
    """A source, a destination, and a record of what the sync did."""

    source: Path
    destination: Path
    reports: list[dict[str, int]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    now: float = 0.0

    def store(self) -> Store:
        return LocalStore(self.source)

    def listing(self) -> Listing:
        return asyncio.run(self.store().listing(DIRECTORY))

    def fetch(self, store: Store | None = None, **changes: Any) -> SyncOutcome:
        request = FetchRequest(DIRECTORY, 3, revision(self.listing()), self.destination)
        runtime = Runtime(self.reports.append, self.clock, RetryPolicy(self.sleep, lambda: 0.5))
        return asyncio.run(fetch(replace(request, **changes), store or self.store(), runtime))

    def fails(self, store: Store | None = None, **changes: Any) -> SyncError:
        with pytest.raises(SyncError) as caught:
            self.fetch(store, **changes)
        return caught.value

    def clock(self) -> float:
        self.now += 0.1
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def hidden(self) -> list[str]:
        return sorted(path.name for path in self.destination.iterdir() if path.name[0] == ".")


@pytest.fixture
def world(tmp_path: Path) -> World:
    write(tmp_path / "source" / DIRECTORY, contents())
    return World(tmp_path / "source", tmp_path / "volume" / "models" / "digits")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small files have many parts."""
    monkeypatch.setattr(transfer, "PART", 1000)
    monkeypatch.setattr(file_check, "_CHUNK", 300)


def no_version(world: World) -> bool:
    return not (world.destination / "3").exists()


def test_a_version_arrives_whole_under_its_canonical_number(world: World) -> None:
    outcome = world.fetch()
    files = contents()
    assert tree(world.destination / "3") == files
    assert set(files) == FILES
    assert outcome.reason == "Synced"
    assert outcome.bytes == sum(map(len, files.values()))
    assert world.hidden() == [".slipway-3.json"]
    assert world.pauses == []


def test_the_digest_is_that_of_the_content_alone(world: World, tmp_path: Path) -> None:
    hasher = hashlib.sha256()
    for path, content in sorted(contents().items()):
        hasher.update(len(path.encode()).to_bytes(8, "big") + path.encode())
        hasher.update(hashlib.sha256(content).digest())
    first = world.fetch()
    assert first.digest == f"sha256:{hasher.hexdigest()}"
    shutil.copytree(world.source, tmp_path / "copy")  # Other inodes, other times: other ETags.
    copy = World(tmp_path / "copy", tmp_path / "other")
    second = copy.fetch()
    assert second.revision != first.revision
    assert second.digest == first.digest


def test_progress_is_reported_at_the_start_now_and_then_and_at_the_end(world: World) -> None:
    world.fetch(concurrency=1)
    total = sum(map(len, contents().values()))
    first, *between, last = world.reports
    assert (first["bytes"], first["files"]) == (0, 0)
    assert (last["bytes"], last["files"]) == (total, 6)
    assert {(item["totalBytes"], item["totalFiles"]) for item in world.reports} == {(total, 6)}
    numbers = [item["bytes"] for item in world.reports]
    assert numbers == sorted(numbers)
    assert len(between) <= world.now / 2, "at most every two seconds"


def test_a_verified_version_is_not_fetched_again(world: World) -> None:
    first = world.fetch()
    unreachable = Scripted(world.store(), fail_listing=99)
    world.reports.clear()
    again = world.fetch(unreachable)
    assert [(item["bytes"], item["files"]) for item in world.reports] == [(0, 0), (first.bytes, 6)]
    assert again == replace(first, message=again.message)
    assert unreachable.opened == []
    assert unreachable.listed == 0


@pytest.mark.parametrize("harm", ["shorter", "touched", "removed", "added"])
def test_a_version_that_was_harmed_on_the_volume_is_fetched_again(world: World, harm: str) -> None:
    world.fetch()
    target = world.destination / "3" / SHARD_1
    if harm == "shorter":
        target.write_bytes(b"x")
    elif harm == "touched":
        changed = bytearray(target.read_bytes())
        changed[0] ^= 1
        target.write_bytes(changed)
    elif harm == "removed":
        target.unlink()
    else:
        (world.destination / "3" / "extra").write_bytes(b"")
    world.fetch()
    assert tree(world.destination / "3") == contents()
    assert world.hidden() == [".slipway-3.json"]


def test_another_revision_takes_the_place_of_the_old_one(world: World) -> None:
    world.fetch()
    write(world.source / DIRECTORY, contents(seed=7))
    world.fetch()
    assert tree(world.destination / "3") == contents(seed=7)
    assert world.hidden() == [".slipway-3.json"]


def test_a_revision_that_moved_is_not_synced(world: World) -> None:
    error = world.fails(revision="0" * 64)
    assert error.code is ExitCode.REVISION_MOVED
    assert "changed since revision 000000000000 was planned" in str(error)
    assert no_version(world)
    assert not world.destination.exists(), "nothing was touched"


Harm = Callable[[Path], object]
BROKEN: dict[str, tuple[Harm, str, str]] = {
    "a shard is missing": (lambda d: (d / SHARD_1).unlink(), "MissingShard", SHARD_1),
    "a shard is short": (lambda d: os.truncate(d / SHARD_0, 10), "ShardTooShort", SHARD_0),
    "the index is missing": (lambda d: (d / INDEX).unlink(), "MissingVariables", INDEX),
    "an asset is missing": (lambda d: (d / ASSET).unlink(), "MissingAsset", ASSET),
    "the graph is cut off": (
        lambda d: os.truncate(d / "saved_model.pb", 50),
        "UnreadableGraph",
        "saved_model.pb",
    ),
    "a key is hostile": (lambda d: (d / "a\\b").write_bytes(b""), "HostileKey", "a\\b"),
    "a bit of a number is flipped": (lambda d: flip(d / SHARD_1, 100), "CorruptShard", SHARD_1),
    "a bit of a string is flipped": (lambda d: flip(d / SHARD_0, -10), "CorruptShard", SHARD_0),
}


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", BROKEN)
def test_an_export_is_rejected_when(world: World, name: str) -> None:
    harm, reason, path = BROKEN[name]
    harm(world.source / DIRECTORY)
    error = world.fails()
    assert (error.code, error.reason, error.object) == (ExitCode.REJECTED, reason, path)
    assert str(error).startswith((path, "the key"))
    assert no_version(world)


def test_a_completion_marker_is_asked_for(world: World) -> None:
    assert world.fails(requirements=Requirements(marker="_SUCCESS")).reason == "MissingMarker"
    (world.source / DIRECTORY / "_SUCCESS").write_bytes(b"")
    assert world.fetch(requirements=Requirements(marker="_SUCCESS")).reason == "Synced"


def test_what_is_too_large_to_prove_before_is_proven_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large graph whose asset is missing passes the operator's check, not the agent's."""
    (world.source / DIRECTORY / "saved_model.pb").write_bytes(graph(assets=("none.txt",)))

    async def trusting(*_args: object, **_options: object) -> object:
        from slipway_sync.exports import Proof, Verdict

        return Proof(Verdict.COMPLETE, "Complete", "", "")

    monkeypatch.setattr("slipway_sync.agent.fetch.fetch.prove", trusting)
    error = world.fails()
    assert (error.reason, error.object) == ("MissingAsset", "assets/none.txt")
    assert no_version(world)


@dataclass
class Scripted:
    """A store that fails as told, around a real one."""

    inner: Store
    fail_listing: int = 0
    fail_stream: int = 0
    reason: Any = "Unavailable"
    after_bytes: int = 0
    replaced: str = ""
    corrupt_first: str = ""
    extra: bytes = b""
    on_stream: Callable[[], object] = int
    silent: bool = False
    opened: list[tuple[str, int]] = field(default_factory=list)
    listed: int = 0

    async def children(self) -> tuple[str, ...]:
        return await self.inner.children()

    async def listing(self, directory: str) -> Listing:
        self.listed += 1
        if self.listed <= self.fail_listing:
            raise SourceError(self.reason, "s3://models/m: told to fail")
        return await self.inner.listing(directory)

    async def pages(self, directory: str) -> Pages:
        async for page in self.inner.pages(directory):
            yield page

    async def folders(self, directory: str, empty: Sequence[str]) -> frozenset[str]:
        return await self.inner.folders(directory, empty)

    async def read(
        self, directory: str, path: str, *, start: int = 0, length: int | None = None
    ) -> bytes:
        return await self.inner.read(directory, path, start=start, length=length)

    async def ranged(self, directory: str, item: ObjectInfo) -> bool:
        return await self.inner.ranged(directory, item)

    async def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        self.opened.append((item.path, start))
        self.on_stream()
        if item.path == self.replaced:
            raise ObjectReplacedError(item.path)
        content = await self.inner.read(directory, item.path, start=start, length=length)
        if self.corrupt_first == item.path:
            self.corrupt_first = ""
            content = bytes([content[0] ^ 1]) + content[1:]
        if self.fail_stream:
            self.fail_stream -= 1
            if self.after_bytes:
                yield content[: self.after_bytes]
            raise SourceError(self.reason, "s3://models/m: told to fail")
        if not self.silent:
            yield content + self.extra


def test_a_source_that_sends_nothing_is_not_asked_for_ever(world: World) -> None:
    error = world.fails(Scripted(world.store(), silent=True))
    assert (error.code, error.reason) == (ExitCode.REJECTED, "WrongSize")
    assert str(error) == f"{INDEX} ends {len(contents()[INDEX])} bytes early"


def test_a_source_that_sends_more_than_it_listed_is_noticed(world: World) -> None:
    error = world.fails(Scripted(world.store(), extra=b"more"))
    assert (error.code, error.reason) == (ExitCode.REJECTED, "WrongSize")
    assert no_version(world)


def test_all_is_on_disk_before_the_rename_and_the_rename_before_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append(os.path.relpath(path, world.destination))
        fsync(descriptor)

    def noted_rename(source: Path, target: Path) -> None:
        seen.append("RENAME")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    world.fetch()
    partial = f".slipway-3-{revision(world.listing())[:12]}.partial"
    assert seen.count("RENAME") == 2, "of the record, then of the version"
    last = len(seen) - seen[::-1].index("RENAME")
    before, after = seen[: last - 1], seen[last:]
    directories = ("assets", "assets.extra", "variables", "")
    wanted = {f"{partial}/files/{path}".rstrip("/") for path in (*FILES, *directories)}
    assert wanted <= set(before)
    assert all(before.count(f"{partial}/files/{path}") == 1 for path in FILES), "once is enough"
    assert before.index(".slipway-3.json.new") > max(map(before.index, wanted))
    assert after == ["."]


def test_a_source_that_comes_back_is_enough(world: World) -> None:
    store = Scripted(world.store(), fail_listing=2, fail_stream=2)
    world.fetch(store, concurrency=1)
    assert tree(world.destination / "3") == contents()
    assert world.pauses == [1.0, 2.0, 1.0, 2.0], "each longer than the one before"


def test_a_source_that_stays_away_is_transient(world: World) -> None:
    error = world.fails(Scripted(world.store(), fail_stream=99))
    assert error.code is ExitCode.SOURCE_UNAVAILABLE
    assert no_version(world)
    error = world.fails(Scripted(world.store(), fail_listing=99))
    assert error.code is ExitCode.SOURCE_UNAVAILABLE


def test_an_interrupted_part_goes_on_where_it_stood(world: World) -> None:
    store = Scripted(world.store(), fail_stream=1, after_bytes=70)
    world.fetch(store, concurrency=1)
    assert store.opened[:2] == [(INDEX, 0), (INDEX, 70)]
    assert tree(world.destination / "3") == contents()


@pytest.mark.parametrize(
    ("reason", "code"),
    [("AccessDenied", 77), ("NotFound", 75), ("InvalidSource", 64)],
)
def test_what_will_not_pass_is_not_tried_again(world: World, reason: str, code: int) -> None:
    for store in (
        Scripted(world.store(), fail_listing=9, reason=reason),
        Scripted(world.store(), fail_stream=9, reason=reason),
    ):
        assert world.fails(store).code == code
    assert world.pauses == []


def test_an_object_replaced_while_it_downloads_is_a_moved_revision(world: World) -> None:
    store = Scripted(world.store(), replaced=SHARD_1)
    store.on_stream = lambda: (world.source / DIRECTORY / SHARD_1).write_bytes(b"another")
    error = world.fails(store)
    assert (error.code, error.object) == (ExitCode.REVISION_MOVED, SHARD_1)
    assert world.pauses == []
    assert no_version(world)


def test_a_store_that_lists_an_object_and_sends_another_is_rejected_after_some_tries(
    world: World,
) -> None:
    error = world.fails(Scripted(world.store(), replaced=SHARD_1), concurrency=1)
    assert (error.code, error.object) == (ExitCode.REJECTED, SHARD_1)
    assert error.reason in PASSING
    assert len(world.pauses) == 2
    assert no_version(world)


def test_an_answer_that_is_too_long_harms_no_neighbour(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the length of its answers tells that an asset is wrong."""
    monkeypatch.setattr("slipway_sync.agent.fetch.transfer.PART", 5)

    @dataclass
    class TooLong(Scripted):
        neighbour: asyncio.Event = field(default_factory=asyncio.Event)

        async def stream(
            self, directory: str, item: ObjectInfo, *, start: int, length: int
        ) -> AsyncIterator[bytes]:
            first = not any(path == ASSET for path, _ in self.opened)
            async for chunk in super().stream(directory, item, start=start, length=length):
                if item.path == ASSET and first:
                    await self.neighbour.wait()
                    yield chunk + b"beyond"
                else:
                    yield chunk
            if item.path == ASSET:
                self.neighbour.set()

    world.fetch(TooLong(world.store()), concurrency=2)
    assert tree(world.destination / "3") == contents()


def test_a_trickle_is_given_up(world: World) -> None:
    error = world.fails(Scripted(world.store(), fail_stream=1000, after_bytes=1), concurrency=1)
    assert error.code is ExitCode.SOURCE_UNAVAILABLE
    assert error.object == INDEX
    assert len(world.pauses) == 2


def test_a_file_harmed_on_the_line_is_fetched_once_more(world: World) -> None:
    store = Scripted(world.store(), corrupt_first=SHARD_1)
    world.fetch(store)
    assert tree(world.destination / "3") == contents()
    assert store.opened.count((SHARD_1, 0)) == 2
    assert world.reports[-1]["bytes"] == world.reports[-1]["totalBytes"]


def test_the_next_run_takes_up_what_was_whole(world: World) -> None:
    world.fails(Scripted(world.store(), replaced=SHARD_1), concurrency=1)
    (partial,) = (world.destination / name for name in world.hidden())
    assert partial.name.endswith(".partial")
    assert (partial / "files" / SHARD_0).read_bytes() == contents()[SHARD_0]
    store = Scripted(world.store())
    world.fetch(store)
    assert {path for path, _ in store.opened} == {SHARD_1}
    assert tree(world.destination / "3") == contents()


@pytest.mark.parametrize("harm", ["flip", "truncate", "journal"])
def test_what_an_earlier_run_left_is_not_believed_blindly(world: World, harm: str) -> None:
    world.fails(Scripted(world.store(), replaced=SHARD_1), concurrency=1)
    (partial,) = (world.destination / name for name in world.hidden())
    asset = partial / "files" / ASSET
    if harm == "flip":
        flip(asset, 0)
    elif harm == "truncate":
        os.truncate(asset, 3)
    else:
        (partial / "journal.jsonl").write_bytes(b'{"path": "assets/wor\xff')
    world.fetch()
    assert tree(world.destination / "3") == contents()


def test_leftovers_of_other_runs_go_and_others_stay(world: World) -> None:
    (world.destination / ".slipway-2-0123456789ab.partial" / "files").mkdir(parents=True)
    (world.destination / ".slipway-3-ffffffffffff.partial" / "files").mkdir(parents=True)
    (world.destination / "2").mkdir()
    (world.destination / "notes").mkdir()
    world.fetch()
    assert sorted(path.name for path in world.destination.iterdir()) == [
        ".slipway-3.json",
        "2",
        "3",
        "notes",
    ]


def test_a_sync_under_way_is_not_disturbed(world: World) -> None:
    world.destination.mkdir(parents=True)
    runtime = volume.World(FileSystem(), world.clock, world.clock, lambda *_: None)

    def begun(version: int, planned: str) -> volume.Turn:
        place = volume.Volume(Layout(world.destination, version, planned), runtime)
        return asyncio.run(place.acquire(RetryPolicy(world.sleep, lambda: 0.5)))

    other = begun(2, "a" * 64)
    same = begun(3, revision(world.listing()))
    error = world.fails()
    assert error.code is ExitCode.VOLUME_ERROR
    assert "another sync of version 3 is running" in str(error)
    same.close()
    world.fetch()
    assert [name for name in world.hidden() if name.endswith(".partial")] == [
        f".slipway-2-{'a' * 12}.partial"
    ]
    other.close()


def test_too_small_a_volume_is_said_before_the_first_byte(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small:
        f_frsize = 1024
        f_bavail = 5
        f_blocks = 1000
        f_files = 0

    monkeypatch.setattr(os, "statvfs", lambda _path: Small)
    store = Scripted(world.store())
    error = world.fails(store)
    assert error.code is ExitCode.VOLUME_ERROR
    assert "the volume is too small: 1 MiB are needed, 0 MiB are free" in str(error)
    assert store.opened == []


def test_a_destination_that_is_a_file_is_a_volume_error(world: World) -> None:
    world.destination.parent.mkdir(parents=True)
    world.destination.write_bytes(b"")
    assert world.fails().code is ExitCode.VOLUME_ERROR


def test_the_record_on_the_volume_says_what_was_verified(world: World) -> None:
    outcome = world.fetch()
    record = json.loads((world.destination / ".slipway-3.json").read_text())
    assert record["revision"] == outcome.revision
    assert record["digest"] == outcome.digest
    assert set(record["files"]) == FILES
