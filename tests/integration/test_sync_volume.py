"""The agent on a volume that is kept: its own processes, real locks, real links, a volume that is really full."""

import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.s3 import S3Server
from fake_s3 import Asked, FakeS3, Fault
from kept_volumes import KeptVolume
from local_stores import ALLOW, local_options
from recorded_files import Unsynced
from slipway_server.loading.directory_lock import lock_directory
from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.volume.layout import LOCK
from slipway_sync.exports import ExitCode, SyncOutcome, revision
from slipway_sync.stores import open_store
from small_exports import ASSET, SHARD_1, contents, tree

GRAPH = "saved_model.pb"
KEYS = {"AWS_ACCESS_KEY_ID": "AKEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-word-of-the-log"}


class Pod:
    """One process of the agent; its lines can be waited for."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        self.lines: list[dict[str, Any]] = []
        self._fresh: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._fresh.put(json.loads(line))
        self._fresh.put(None)

    def until(self, event: str) -> dict[str, Any]:
        """Wait for a line of an event."""
        while (line := self._fresh.get(timeout=60)) is not None:
            self.lines.append(line)
            if line["event"] == event:
                return line
        raise AssertionError(f"ended without {event}: {self.lines}")

    def end(self) -> SyncOutcome:
        """Wait for its end, which has to be a good one."""
        assert self.process.wait(60) == 0, self.lines
        outcome = SyncOutcome.parse(self._log.read_text())
        assert outcome is not None
        return outcome

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._reader.join(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Cluster:
    """Pods of one Model around one volume."""

    endpoint: str
    source: str
    home: Path
    keys: dict[str, str]
    pods: list[Pod] = field(default_factory=list)

    @property
    def volume(self) -> Path:
        return self.home / "volume" / "digits"

    def revision(self, version: int) -> str:
        import asyncio

        store = open_store(
            self.source, local_options(endpoint=self.endpoint, credentials=self.keys)
        )
        return revision(asyncio.run(store.listing(str(version))))

    def directory(self, version: int) -> Path:
        return self.volume / f"{version}-{self.revision(version)[:12]}"

    def start(self, version: int, *more: str, planned: str = "") -> Pod:
        secret = self.home / "secret"
        secret.mkdir(exist_ok=True)
        for name, value in self.keys.items():
            (secret / name).write_text(value)
        log = self.home / f"termination-{len(self.pods)}"
        command = [
            str(Path(sys.executable).with_name("slipway-sync")),
            *("fetch", "--source", self.source, "--endpoint", self.endpoint, ALLOW),
            *("--directory", str(version), "--version", str(version)),
            *("--revision", planned or self.revision(version)),
            *("--destination", str(self.volume), "--credentials", str(secret)),
            *("--termination-log", str(log), "--cache", *more),
        ]
        self.pods.append(Pod(command, log))
        return self.pods[-1]

    def sync(self, version: int, *more: str, planned: str = "") -> SyncOutcome:
        return self.start(version, *more, planned=planned).end()

    def close(self) -> None:
        for pod in self.pods:
            pod.close()


def content(directory: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree(directory).items() if path != LOCK}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server.start(tmp_path_factory.mktemp("s3")) as running:
        running.create_bucket("kept")
        yield running


def test_versions_in_a_real_store_share_their_equal_files(server: S3Server, tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    exports = {3: contents(), 4: contents(seed=1) | {GRAPH: contents()[GRAPH]}}
    for version, files in exports.items():
        for path, data in files.items():
            key = f"digits/{version}/{path}"
            server.client().put_object("kept", key, io.BytesIO(data), len(data))
    cluster = Cluster(server.endpoint, "s3://kept/digits", tmp_path, keys)
    try:
        first = cluster.sync(3)
        cluster.sync(4)
        three, four = cluster.directory(3), cluster.directory(4)
        assert (content(three), content(four)) == (exports[3], exports[4])
        assert (three / GRAPH).samefile(four / GRAPH)
        assert not (three / SHARD_1).samefile(four / SHARD_1)
        server.stop()
        try:
            again = cluster.sync(3, planned=first.revision)
        finally:
            server.resume()
        assert again.digest == first.digest
    finally:
        cluster.close()


@dataclass
class Counted:
    """A source that counts, and stops in mid-transfer when told to."""

    fake: FakeS3
    cluster: Cluster
    wanted: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def upload(self, version: int, files: dict[str, bytes]) -> None:
        for path, data in files.items():
            self.fake.objects[f"digits/{version}/{path}"] = data

    def hold(self, path: str) -> None:
        def fault(asked: Asked) -> Fault | None:
            if asked.key.endswith(path) and "if-match" in asked.headers:
                self.wanted.set()
                return Fault(hold=self.gate)
            return None

        self.fake.fault = fault

    def let_go(self) -> None:
        self.fake.fault = lambda _asked: None
        self.gate.set()

    def transferred(self) -> list[str]:
        """Paths whose content was asked for, in order; forgets them."""
        found = [
            asked.key.split("/", 2)[2] for asked in self.fake.asked if "if-match" in asked.headers
        ]
        self.fake.asked.clear()
        return found


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    with FakeS3(objects={}) as fake:
        found = Counted(fake, Cluster(fake.endpoint, "s3://models/digits", tmp_path, KEYS))
        found.upload(3, contents())
        yield found
        found.gate.set()
        found.cluster.close()


ALL = sorted(path for path, data in contents().items() if data)


def test_damage_is_repaired_with_the_damaged_file_alone(counted: Counted) -> None:
    counted.cluster.sync(3)
    assert sorted(counted.transferred()) == ALL
    planned = counted.cluster.revision(3)
    counted.fake.asked.clear()
    counted.cluster.sync(3, planned=planned)
    assert counted.fake.asked == [], "no request at all"
    target = counted.cluster.directory(3) / SHARD_1
    target.chmod(0o644)
    data = bytearray(target.read_bytes())
    data[9] ^= 1
    times = target.stat()
    target.write_bytes(data)
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    counted.fake.asked.clear()
    counted.cluster.sync(3)
    assert counted.transferred() == [SHARD_1]
    assert content(counted.cluster.directory(3)) == contents()


def test_of_three_pods_one_transfers_and_two_wait_and_say_for_whom(counted: Counted) -> None:
    counted.hold(ASSET)
    planned = counted.cluster.revision(3)
    first = counted.cluster.start(3, planned=planned)
    assert counted.wanted.wait(30)
    others = [counted.cluster.start(3, planned=planned) for _ in range(2)]
    for pod in others:
        said = pod.until("waiting")["message"]
        assert f"writes version 3-{planned[:12]} to it" in said
        assert os.uname().nodename in said
    counted.let_go()
    outcomes = [pod.end() for pod in (first, *others)]
    assert len({outcome.digest for outcome in outcomes}) == 1
    assert sorted(counted.transferred()) == ALL


def test_a_writer_that_dies_is_followed_by_one_that_goes_on_where_it_stood(
    counted: Counted,
) -> None:
    counted.hold(SHARD_1)
    planned = counted.cluster.revision(3)
    first = counted.cluster.start(3, "--concurrency=1", planned=planned)
    assert counted.wanted.wait(30)
    second = counted.cluster.start(3, planned=planned)
    second.until("waiting")
    first.kill()
    before = counted.transferred()
    counted.let_go()
    second.end()
    assert counted.transferred() == [SHARD_1]
    assert set(before) >= set(ALL) - {SHARD_1}
    assert content(counted.cluster.directory(3)) == contents()


def test_a_version_that_is_there_starts_while_another_one_is_brought(counted: Counted) -> None:
    counted.cluster.sync(3)
    counted.upload(4, contents(seed=1))
    counted.hold(SHARD_1)
    slow = counted.cluster.start(4)
    assert counted.wanted.wait(30)
    assert counted.cluster.sync(3).message.startswith("version 3 was already on the volume")
    counted.let_go()
    slow.end()


def test_versions_that_are_not_to_be_kept_go(counted: Counted) -> None:
    keep = counted.cluster.home / "keep.json"
    for version in (1, 2, 3):
        counted.upload(version, contents(seed=version))
        counted.cluster.sync(version)
    long_ago = time.time() - 3600
    for record in counted.cluster.volume.glob(".slipway-[12]-*.json"):
        os.utime(record, (long_ago, long_ago))
    names = {version: counted.cluster.directory(version).name for version in (1, 2, 3)}
    keep.write_text(json.dumps({"keep": [names[2]]}))
    pod = counted.cluster.start(3, f"--keep={keep}")
    assert names[1] in pod.until("collected")["message"]
    pod.end()
    there = {path.name for path in counted.cluster.volume.iterdir() if path.name[0] != "."}
    assert there == {names[2], names[3]}


def test_a_server_that_mounts_its_version_read_only_keeps_it(counted: Counted) -> None:
    """As the kubelet mounts it: the version's directory alone, where nothing can be written."""
    for version in (2, 3):
        counted.upload(version, contents(seed=version))
        counted.cluster.sync(version)
    old = counted.cluster.directory(2)
    long_ago = time.time() - 3600
    os.utime(counted.cluster.volume / f".slipway-{old.name}.json", (long_ago, long_ago))
    keep = counted.cluster.home / "keep.json"
    keep.write_text(json.dumps({"keep": [counted.cluster.directory(3).name]}))
    mounted = counted.cluster.home / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "--bind", str(old), str(mounted)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(mounted)], check=True)
        with pytest.raises(OSError, match="Read-only file system"):
            (mounted / "x").write_bytes(b"")
        held = lock_directory(str(mounted))
        assert held is not None
        counted.cluster.sync(3, f"--keep={keep}")
        assert content(old) == contents(seed=2)
        os.close(held)
        counted.cluster.sync(3, f"--keep={keep}")
        assert not old.exists()
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


# Real file systems of a given size


@pytest.fixture
def small(tmp_path: Path) -> Iterator[KeptVolume]:
    """A volume of 1 MiB."""
    world = KeptVolume(tmp_path)
    options = "size=1m,nr_inodes=200"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(world.place)], check=True)
    try:
        yield world
    finally:
        subprocess.run(["umount", str(world.place)], check=True)


def test_what_cannot_fit_is_refused_before_the_first_byte_but_links_fit(small: KeptVolume) -> None:
    large = contents(size=500_000)
    small.upload(3, large)
    small.upload(4, contents(seed=1, size=500_000))
    small.upload(5, large | {ASSET: b"cherry\n"})
    small.sync(3)
    with pytest.raises(SyncError, match="too small: 1 MiB are needed, 0 MiB are free") as caught:
        small.sync(4)
    assert caught.value.code is ExitCode.VOLUME_ERROR
    assert small.store.streamed == []
    small.sync(5)
    assert small.store.streamed == [ASSET]
    assert content(small.directory(5)) == tree(small.source / "5")


def test_what_needs_more_files_than_the_volume_can_hold_is_refused(small: KeptVolume) -> None:
    small.upload(3, contents() | {f"assets.extra/{number}": b"x" for number in range(250)})
    subprocess.run(["mount", "-o", "remount,size=8m", str(small.place)], check=True)
    with pytest.raises(SyncError, match=r"room for 19\d more files, 256 are needed"):
        small.sync(3)
    assert small.store.streamed == []


def test_a_volume_that_fills_up_while_a_file_comes_is_said_and_nothing_is_lost(
    counted: Counted,
) -> None:
    """Whatever way the bytes take from the socket to the file."""
    counted.upload(3, contents(size=500_000))
    counted.cluster.volume.parent.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(counted.cluster.volume.parent)],
        check=True,
    )
    try:
        counted.hold(SHARD_1)
        pod = counted.cluster.start(3, "--concurrency=1")
        assert counted.wanted.wait(30)
        ballast = counted.cluster.volume.parent / "ballast"
        _fill(ballast)
        counted.let_go()
        assert pod.process.wait(60) == ExitCode.VOLUME_ERROR
        assert pod.until("failed")["message"].startswith("the volume is full")
        assert not counted.cluster.directory(3).exists()
        subprocess.run(["rm", "-r", str(ballast)], check=True)
        counted.transferred()
        counted.cluster.sync(3)
        assert counted.transferred() == [SHARD_1]
    finally:
        counted.cluster.close()
        subprocess.run(["umount", str(counted.cluster.volume.parent)], check=True)


class FillsUp(Unsynced):
    """Somebody else fills the volume at one of the sync's operations."""

    def __init__(self, ballast: Path, at: int) -> None:
        self.left = at
        self._ballast = ballast

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("_") and callable(found):
            self.left -= 1
            if self.left == 0:
                _fill(self._ballast)
        return found


def _fill(ballast: Path) -> None:
    ballast.mkdir()
    with suppress(OSError):
        (ballast / "bytes").write_bytes(bytes(8 << 20))
    with suppress(OSError):
        for number in range(1000):
            (ballast / str(number)).symlink_to("nowhere")


def test_a_volume_that_fills_up_at_any_moment_holds_old_or_new_and_recovers(
    small: KeptVolume,
) -> None:
    old, new = contents(), contents(seed=1, size=50_000)
    small.upload(3, old)
    small.sync(3)
    before = small.directory(3)
    small.upload(3, new)
    ballast = small.place / "ballast"
    full = 0
    at = 0
    while True:
        at += 1
        operations = FillsUp(ballast, at)
        try:
            small.sync(3, operations)
        except SyncError as error:
            full += 1
            said = str(error)
        else:
            said = "the volume is full"
        assert said.startswith("the volume is full")
        assert content(before) == old
        if small.directory(3).exists():
            assert content(small.directory(3)) == new
        if operations.left > 0:
            break
        subprocess.run(["rm", "-r", str(ballast)], check=True)
        small.sync(3)
        assert content(small.directory(3)) == new
        assert not list(small.volume.glob(".slipway-*.partial"))
        subprocess.run(["rm", "-r", str(small.directory(3))], check=True)
    assert full > 10
