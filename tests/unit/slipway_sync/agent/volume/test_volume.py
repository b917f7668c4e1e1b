"""A volume that several pods and versions of one Model keep."""

import asyncio
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kept_volumes import KeptVolume, TaggedStore
from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.fetch.fetch import fetch
from slipway_sync.agent.volume.filesystem import FileSystem
from slipway_sync.agent.volume.layout import LOCK
from slipway_sync.agent.volume.record import FileRecord, Record
from slipway_sync.exports import ExitCode
from small_exports import ASSET, INDEX, SHARD_0, SHARD_1, contents, tree

GRAPH = "saved_model.pb"


@pytest.fixture
def world(tmp_path: Path) -> KeptVolume:
    found = KeptVolume(tmp_path)
    found.upload(3, contents())
    return found


def content(directory: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree(directory).items() if path != LOCK}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def inode(path: Path) -> int:
    return path.stat().st_ino


def test_a_version_lies_under_its_number_and_revision(world: KeptVolume) -> None:
    outcome = world.sync(3)
    name = f"3-{outcome.revision[:12]}"
    assert content(world.volume / name) == contents()
    assert names(world.volume) == {LOCK, f".slipway-{name}.json", name}
    assert (world.volume / name / LOCK).read_bytes() == b""


def test_nothing_on_it_can_be_written_but_locks(world: KeptVolume) -> None:
    world.sync(3)
    for path in world.directory(3).rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == (0o644 if path.name == LOCK else 0o444)


def test_the_lock_file_is_no_part_of_the_digest(world: KeptVolume, tmp_path: Path) -> None:
    own = KeptVolume(tmp_path / "own", kept=False)
    own.upload(3, contents())
    assert own.sync(3).digest == world.sync(3).digest


def test_another_revision_of_a_number_lies_beside_the_first(world: KeptVolume) -> None:
    world.sync(3)
    first = world.directory(3)
    world.upload(3, contents(seed=1))
    world.sync(3)
    assert content(first) == contents()
    assert content(world.directory(3)) == contents(seed=1)
    assert first != world.directory(3)


@pytest.mark.parametrize("known_by", ["tag", "hash"])
def test_equal_files_of_two_versions_are_one_file(world: KeptVolume, known_by: str) -> None:
    world.store = TaggedStore(world.source, hashes=known_by == "hash", tags=known_by == "tag")
    world.sync(3)
    world.upload(4, contents(seed=1) | {GRAPH: contents()[GRAPH], ASSET: contents()[ASSET]})
    world.sync(4)
    assert set(world.store.streamed) == {INDEX, SHARD_0, SHARD_1}
    assert content(world.directory(4)) == tree(world.source / "4")
    for path in (GRAPH, ASSET):
        assert inode(world.directory(3) / path) == inode(world.directory(4) / path)


def test_a_manifest_makes_files_equal_whose_tags_differ(world: KeptVolume) -> None:
    """As on Azure, whose tags are new at every upload."""
    world.store = TaggedStore(world.source, tags=False)
    for version, files in (
        (3, contents()),
        (4, contents(seed=1) | {GRAPH: contents()[GRAPH], ASSET: contents()[ASSET]}),
    ):
        lines = [f"{hashlib.sha256(data).hexdigest()}  {path}" for path, data in files.items()]
        world.upload(version, files | {"SHA256SUMS": "\n".join(lines).encode()})
        world.sync(version)
    assert set(world.store.streamed) == {INDEX, SHARD_0, SHARD_1, "SHA256SUMS"}
    assert content(world.directory(4)) == tree(world.source / "4")


@pytest.mark.parametrize(
    "why", ["another store", "no tags of content", "another content under one tag"]
)
def test_files_that_are_not_known_to_be_equal_are_brought(world: KeptVolume, why: str) -> None:
    world.upload(4, contents())
    if why == "no tags of content":
        world.store = TaggedStore(world.source, tags=False)
    world.sync(3)
    if why == "another store":
        world.origin = "elsewhere"
    elif why == "another content under one tag":
        for path in list(contents()):
            rot(world.directory(3) / path)
    world.sync(4)
    assert set(world.store.streamed) >= {GRAPH, ASSET, INDEX, SHARD_0, SHARD_1}
    assert content(world.directory(4)) == contents()
    assert inode(world.directory(3) / GRAPH) != inode(world.directory(4) / GRAPH)


def rot(path: Path) -> None:
    """Change a byte as a bad disk does: neither size nor times nor mode tell."""
    found = path.stat()
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 8
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(found.st_mode)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


class NoLinks(FileSystem):
    """A file system without hard links."""

    def __init__(self, error: int) -> None:
        self._error = error

    def link(self, source: Path, target: Path) -> None:  # noqa: ARG002
        raise OSError(self._error, os.strerror(self._error))


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV])
def test_without_hard_links_files_are_copied(world: KeptVolume, error: int) -> None:
    world.upload(4, contents())
    world.sync(3)
    world.sync(4, NoLinks(error))
    assert world.store.streamed == []
    assert content(world.directory(4)) == contents()
    assert inode(world.directory(3) / GRAPH) != inode(world.directory(4) / GRAPH)
    assert (world.directory(4) / GRAPH).stat().st_mode & 0o222 == 0


def test_a_file_that_somebody_may_write_is_sealed_before_it_is_shared(world: KeptVolume) -> None:
    """The kubelet adds the permission where it sets a volume's group at every mount."""
    world.upload(4, contents())
    world.sync(3)
    for path in world.directory(3).rglob("*"):
        if path.is_file():
            path.chmod(0o664)
    world.sync(4)
    assert world.store.streamed == []
    assert (world.directory(3) / GRAPH).stat().st_mode & 0o222 == 0


def test_a_pod_that_starts_again_reads_all_and_brings_nothing(world: KeptVolume) -> None:
    first = world.sync(3)
    world.reports.clear()
    again = world.sync(3)
    assert (world.store.streamed, again.digest) == ([], first.digest)
    assert world.reports[-1]["bytes"] == first.bytes
    assert world.reports[-1]["files"] == len(contents())


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("harm", ["rot", "shorter", "removed", "added", "linked"])
def test_damage_is_found_and_only_the_damaged_file_brought(
    tmp_path: Path, harm: str, *, kept: bool
) -> None:
    world = KeptVolume(tmp_path, kept=kept)
    world.upload(3, contents())
    world.sync(3)
    directory = world.directory(3)
    before = inode(directory)
    target = directory / SHARD_1
    if harm == "rot":
        rot(target)
    elif harm == "shorter":
        os.truncate(target, 10)
    elif harm == "added":
        (directory / "extra").write_bytes(b"x")
    else:
        target.unlink()
        if harm == "linked":
            target.symlink_to("/etc/passwd")
    world.sync(3)
    assert set(world.store.streamed) == (set() if harm == "added" else {SHARD_1})
    assert content(directory) == contents()
    assert inode(directory) == before, "who mounted the directory sees what was repaired"
    assert "damaged" in world.events()
    assert world.sync(3).message.startswith("version 3 was already on the volume")


@pytest.mark.parametrize("linked", [False, True])
def test_a_directory_in_the_place_of_a_file_and_a_link_in_that_of_a_directory_are_mended(
    world: KeptVolume, tmp_path: Path, *, linked: bool
) -> None:
    world.sync(3)
    version = world.directory(3)
    if linked:
        elsewhere = tmp_path / "elsewhere"
        (version / "variables").rename(elsewhere)
        (version / "variables").symlink_to(elsewhere)
        before = tree(elsewhere)
    else:
        (version / GRAPH).unlink()
        (version / GRAPH / "inside").mkdir(parents=True)
        (version / GRAPH / "inside" / "file").write_bytes(b"x")
    world.sync(3)
    assert content(version) == contents()
    assert not (version / "variables").is_symlink()
    if linked:
        assert tree(elsewhere) == before


def test_what_nfs_leaves_of_an_open_file_is_no_damage(world: KeptVolume) -> None:
    world.sync(3)
    left = world.directory(3) / "variables" / ".nfs0000000000c5f2a100000001"
    left.write_bytes(b"x")
    assert world.sync(3).message.startswith("version 3 was already on the volume")
    (world.directory(3) / ASSET).unlink()
    world.sync(3)
    assert world.store.streamed == [ASSET]
    assert left.exists()


def test_rot_in_a_shared_file_does_not_spread(world: KeptVolume) -> None:
    world.upload(4, contents(seed=1) | {GRAPH: contents()[GRAPH]})
    world.sync(3)
    rot(world.directory(3) / GRAPH)
    world.sync(4)
    assert GRAPH in world.store.streamed
    assert content(world.directory(4)) == tree(world.source / "4")
    world.sync(3)
    assert world.store.streamed == [], "the other version has it, right"
    assert content(world.directory(3)) == contents()


def test_a_lock_file_that_was_removed_comes_back(world: KeptVolume) -> None:
    world.sync(3)
    (world.directory(3) / LOCK).unlink()
    world.sync(3)
    assert world.store.streamed == []
    assert (world.directory(3) / LOCK).exists()


class ReadOnly(FileSystem):
    """A volume that cannot be written any more."""

    def open_lock(self, path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    def touch(self, path: Path, seconds: float) -> None:  # noqa: ARG002
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


def test_a_version_that_is_there_needs_nothing_written(world: KeptVolume) -> None:
    world.sync(3)
    assert world.sync(3, ReadOnly()).message.startswith("version 3 was already on the volume")
    assert world.events() == ["keeping"]
    world.upload(4, contents(seed=4))
    with pytest.raises(SyncError, match="cannot be written to the volume: Read-only file system"):
        world.sync(4, ReadOnly())


def test_a_lost_record_costs_a_download_and_nothing_else(world: KeptVolume) -> None:
    world.sync(3)
    (world.volume / f".slipway-{world.name(3)}.json").write_bytes(b'{"revision": ')
    world.sync(3)
    assert content(world.directory(3)) == contents()
    assert world.sync(3).message.startswith("version 3 was already on the volume")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "\xff", "1"),
        '{"size": 1, "etag": "", "sha256": "00"}',
        '{"revision": "a", "digest": "b", "origin": "c", "files": {"a": 1}}',
        '{"revision": "a", "digest": "b", "origin": "c", "files": ["a"]}',
        '{"revision": "", "digest": "", "origin": "", "files": {"a": {"size": 1, "etag": ""}}}',
        '{"files": {"a": {"size": "x", "etag": "", "sha256": ""}}}',
    ],
)
def test_what_is_no_record_says_nothing(text: str) -> None:
    assert Record.parse(text.encode("latin-1")) is None


def test_a_record_reads_as_it_was_written() -> None:
    record = Record("a" * 64, "sha256:b", "c", {"size": FileRecord(7, "etag", "0" * 64)})
    assert Record.parse(record.render()) == record


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a\\b"])
def test_a_record_with_a_hostile_path_is_not_followed(world: KeptVolume, path: str) -> None:
    world.sync(3)
    record = world.volume / f".slipway-{world.name(3)}.json"
    data = json.loads(record.read_text())
    data["files"][path] = data["files"][GRAPH]
    record.write_text(json.dumps(data))
    world.upload(4, contents())
    world.sync(4)
    assert GRAPH in world.store.streamed
    assert content(world.directory(4)) == contents()


def test_an_export_that_holds_our_lock_file_is_refused(world: KeptVolume) -> None:
    world.upload(4, contents() | {LOCK: b""})
    with pytest.raises(SyncError, match=LOCK) as caught:
        world.sync(4)
    assert (caught.value.code, caught.value.object) == (ExitCode.REJECTED, LOCK)


# Several pods


def together(world: KeptVolume, *versions: int) -> list[Any]:
    """Sync versions side by side, as pods do that start at the same time."""

    async def all_of_them() -> list[Any]:
        world.store.streamed.clear()
        return await asyncio.gather(
            *(fetch(world.request(version), world.store, world.runtime()) for version in versions)
        )

    requests = {version: world.request(version) for version in versions}
    world.request = lambda version, **_: requests[version]  # type: ignore[method-assign]
    return asyncio.run(all_of_them())


def test_one_pod_brings_a_version_and_the_others_wait_and_find_it(world: KeptVolume) -> None:
    outcomes = together(world, 3, 3, 3)
    assert sorted(world.store.streamed) == sorted(path for path, data in contents().items() if data)
    assert sorted(outcome.message.split(":")[0] for outcome in outcomes) == [
        "version 3 is on the volume, verified",
        "version 3 was downloaded by another pod",
        "version 3 was downloaded by another pod",
    ]
    assert len({outcome.digest for outcome in outcomes}) == 1


def test_two_versions_at_a_time_bring_their_equal_files_once(world: KeptVolume) -> None:
    world.upload(4, contents())
    together(world, 3, 4)
    assert sorted(world.store.streamed) == sorted(path for path, data in contents().items() if data)


@contextmanager
def held(world: KeptVolume, text: bytes) -> Iterator[int]:
    world.volume.mkdir(exist_ok=True)
    (world.volume / LOCK).write_bytes(text)
    with (world.volume / LOCK).open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


@pytest.mark.parametrize(
    ("text", "who"),
    [
        (
            b'{"pod": "digits-7", "version": "4-0123456789ab", "since": 1699999990}   ',
            "pod digits-7 writes version 4-0123456789ab to it, for 10 s now",
        ),
        (b"", "another pod writes to it"),
        (b'{"pod": 1}', "another pod writes to it"),
    ],
)
def test_a_pod_that_waits_says_for_whom_every_few_seconds(
    world: KeptVolume, text: bytes, who: str
) -> None:
    with held(world, text) as lock:

        async def release_after(seconds: float) -> None:
            world.ticks += seconds
            if world.ticks >= 12:
                fcntl.flock(lock, fcntl.LOCK_UN)

        world.sleep = release_after  # type: ignore[method-assign]
        world.sync(3)
    waiting = [sentence for event, sentence in world.said if event == "waiting"]
    assert waiting == [f"waiting for the volume: {who}"] * 3
    assert content(world.directory(3)) == contents()


def test_the_one_who_writes_signs(world: KeptVolume) -> None:
    world.sync(3)
    signed = json.loads((world.volume / LOCK).read_bytes())
    assert signed["version"] == world.name(3)
    assert signed["since"] == int(world.now)


def test_a_version_that_is_there_waits_for_nobody(world: KeptVolume) -> None:
    world.sync(3)
    with held(world, b""):
        assert world.sync(3).message.startswith("version 3 was already on the volume")


class NoLocks(FileSystem):
    """A file system that does not lock."""

    def __init__(self, error: int) -> None:
        self._error = error

    def lock(self, descriptor: int, *, exclusive: bool) -> bool:  # noqa: ARG002
        raise OSError(self._error, os.strerror(self._error))


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_volume_that_does_not_lock_is_refused_in_one_sentence(
    world: KeptVolume, error: int
) -> None:
    with pytest.raises(SyncError, match="does not support file locks") as caught:
        world.sync(3, NoLocks(error))
    assert caught.value.code is ExitCode.VOLUME_ERROR
    assert world.store.streamed == []


# Old versions go


def keep(world: KeptVolume, *names: str) -> Path:
    path = world.home / "keep.json"
    path.write_text(json.dumps({"keep": names}))
    return path


def versions(world: KeptVolume) -> set[str]:
    return {path.name for path in world.volume.iterdir() if path.name[0] != "."}


@pytest.fixture
def three(world: KeptVolume) -> KeptVolume:
    """Versions 1, 2 and 3, of which the first two were used long ago."""
    for version in (1, 2, 3):
        world.upload(version, contents(seed=version) | {GRAPH: contents()[GRAPH]})
        world.sync(version)
    world.now += 3600
    world.said.clear()
    return world


def test_what_is_not_to_be_kept_goes_with_a_line(three: KeptVolume) -> None:
    three.sync(3, keep=keep(three, three.name(2), "9-0123456789ab"))
    assert versions(three) == {three.name(2), three.name(3)}
    assert three.said == [
        ("collected", f"removed version {three.name(1)} from the volume: nothing uses it")
    ]
    assert not (three.volume / f".slipway-{three.name(1)}.json").exists()
    for version in (2, 3):
        assert content(three.directory(version)) == tree(three.source / str(version))


def test_a_version_that_is_open_stays(three: KeptVolume) -> None:
    descriptor = os.open(three.directory(1) / LOCK, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        three.sync(3, keep=keep(three))
        assert versions(three) == {three.name(1), three.name(3)}
    finally:
        os.close(descriptor)
    three.sync(3, keep=keep(three))
    assert versions(three) == {three.name(3)}


def test_a_version_that_was_just_used_stays(three: KeptVolume) -> None:
    three.sync(1)
    three.now += 599
    three.sync(3, keep=keep(three))
    assert versions(three) == {three.name(1), three.name(3)}
    three.now += 2
    three.sync(3, keep=keep(three))
    assert versions(three) == {three.name(3)}


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", '{"keep": "3-0123456789ab"}', '{"keep": [3]}', '{"keep": ["../3"]}', "\xff"],
)
def test_without_a_list_that_can_be_read_nothing_goes(three: KeptVolume, text: str | None) -> None:
    path = three.home / "keep.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    three.sync(3, keep=path)
    assert len(versions(three)) == 3
    assert [event for event, _ in three.said] == ["keeping"]
    three.sync(3)
    assert len(versions(three)) == 3


def test_what_is_no_version_of_ours_stays(three: KeptVolume) -> None:
    for name in ("7", "notes", "3-xyz", "03-0123456789ab", "lost+found"):
        (three.volume / name).mkdir()
    (three.volume / "5-0123456789ab").write_text("a file")
    three.sync(3, keep=keep(three))
    assert versions(three) == {
        *("7", "notes", "3-xyz", "03-0123456789ab", "lost+found", "5-0123456789ab"),
        three.name(3),
    }


def test_old_versions_go_before_room_is_counted(
    three: KeptVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(three.home)
    asked: list[set[str]] = []

    def statvfs(_path: object) -> os.statvfs_result:
        asked.append(versions(three))
        return real

    monkeypatch.setattr(os, "statvfs", statvfs)
    three.upload(4, contents(seed=4))
    three.sync(4, keep=keep(three, three.name(3)))
    assert asked == [{three.name(3)}]


def test_links_need_no_room(world: KeptVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    world.upload(4, contents(seed=1) | {GRAPH: contents()[GRAPH]})
    world.upload(5, contents())
    world.sync(3)

    class Full:
        f_frsize = 1
        f_bavail = 0
        f_blocks = 1 << 30
        f_files = 1000
        f_favail = 1  # For the empty file.

    monkeypatch.setattr(os, "statvfs", lambda _path: Full)
    assert world.sync(5).reason == "Synced"
    with pytest.raises(SyncError, match="the volume is too small") as caught:
        world.sync(4)
    assert caught.value.code is ExitCode.VOLUME_ERROR
    assert world.store.streamed == []
    world.store = TaggedStore(world.source)
    with pytest.raises(SyncError, match="the volume is too small"):
        world.sync(4, NoLinks(errno.EPERM))


@pytest.mark.parametrize("kept", [True, False])
def test_unfinished_syncs_go_when_nobody_will_take_them_up(tmp_path: Path, *, kept: bool) -> None:
    world = KeptVolume(tmp_path, kept=kept)
    world.upload(3, contents())
    for name in ("3-ffffffffffff", "2-ffffffffffff", "1-ffffffffffff", "3-ffffffffffff.gone"):
        place = world.volume / f".slipway-{name}.partial"
        (place / "files").mkdir(parents=True)
        (place / "journal.jsonl").write_text("")
        os.utime(place / "journal.jsonl", (world.now - 700, world.now - 700))
    os.utime(world.volume / ".slipway-2-ffffffffffff.partial" / "journal.jsonl", (world.now,) * 2)
    world.sync(3, keep=keep(world, "1-ffffffffffff"))
    left = {name for name in names(world.volume) if name.endswith(".partial")}
    taken_up = {".slipway-1-ffffffffffff.partial", ".slipway-2-ffffffffffff.partial"}
    assert left == (taken_up if kept else set())
