"""A sync that ends at any moment: killed, without power, or on a full disk.

What it does to the volume is recorded, and every beginning of it replayed. A version's name then stands for the old
version or for the new one, whole, or for nothing; the next sync succeeds, takes up what was noted and removes the rest.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import killed_syncs
from kept_volumes import KeptVolume
from killed_syncs import Starter
from recorded_files import (
    Disk,
    Fsync,
    Loss,
    Operation,
    Recorder,
    Unsynced,
    Write,
    durable_text,
    killed,
    power_lost,
)
from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.volume import journal
from slipway_sync.agent.volume.filesystem import FileSystem
from slipway_sync.agent.volume.layout import LOCK
from slipway_sync.exports import ExitCode
from small_exports import ASSET, SHARD_0, contents, tree

LOSSES = (
    Loss(names=0, data=0),
    Loss(names=1, data=0),
    Loss(names=1, data=0.5, zeros=True),
    Loss(names=0.5, data=0.5),
)
OLD, NEW = contents(seed=1, size=600), contents(seed=2, size=600)
SHARING = NEW | {name: OLD[name] for name in ("saved_model.pb", ASSET)}


@dataclass
class Scenario:
    """A volume before a sync, and what may be seen on it at any moment of the sync.

    Attributes:
        world: Source and volume.
        version: What is synced.
        allowed: For each name of a version the contents it may stand for.
        wanted: What has to lie there when the sync has ended well.
        more: Changes of the request.
    """

    world: KeptVolume
    version: int
    allowed: dict[str, list[dict[str, bytes]]]
    wanted: dict[str, dict[str, bytes]]
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> str:
        """Name of the version that is synced."""
        return self.world.name(self.version)

    def sync(self, operations: FileSystem | None = None) -> None:
        self.world.sync(self.version, operations, **self.more)


def fresh(home: Path, *, kept: bool = True) -> Scenario:
    world = KeptVolume(home, kept=kept)
    world.upload(3, NEW)
    name = world.name(3)
    return Scenario(world, 3, {name: [NEW]}, {name: NEW})


def own_volume(home: Path) -> Scenario:
    return fresh(home, kept=False)


def mutated(home: Path) -> Scenario:
    """Another export of the same number, on a pod's own volume: it takes the place of the first."""
    world = KeptVolume(home, kept=False)
    world.upload(3, OLD)
    world.sync(3, Unsynced())
    world.upload(3, NEW)
    return Scenario(world, 3, {"3": [OLD, NEW]}, {"3": NEW})


def beside(home: Path) -> Scenario:
    """Another export of the same number, on a kept volume: it lies beside the first."""
    world = KeptVolume(home)
    world.upload(3, OLD)
    world.sync(3, Unsynced())
    first = world.name(3)
    world.upload(3, SHARING)
    second = world.name(3)
    wanted = {first: OLD, second: SHARING}
    return Scenario(world, 3, {name: [files] for name, files in wanted.items()}, wanted)


def collecting(home: Path) -> Scenario:
    """A new version that shares files with two old ones, one of which goes meanwhile."""
    world = KeptVolume(home)
    for version in (1, 2):
        world.upload(version, OLD | {"number": str(version).encode()})
        world.sync(version, Unsynced())
    world.upload(3, SHARING)
    keep = home / "keep.json"
    keep.write_text(json.dumps({"keep": [world.name(2)]}))
    world.now += 3600
    allowed = {world.name(n): [tree(world.source / str(n))] for n in (1, 2, 3)}
    wanted = {world.name(n): tree(world.source / str(n)) for n in (2, 3)}
    return Scenario(world, 3, allowed, wanted, {"keep": keep})


def damaged(home: Path, *, kept: bool = True) -> Scenario:
    """A version that was harmed on the volume."""
    world = KeptVolume(home, kept=kept)
    world.upload(3, NEW)
    world.sync(3, Unsynced())
    target = world.directory(3) / SHARD_0
    target.unlink()
    target.write_bytes(b"\0" * len(NEW[SHARD_0]))
    name = world.name(3)
    harmed = NEW | {SHARD_0: b"\0" * len(NEW[SHARD_0])}
    return Scenario(world, 3, {name: [harmed, NEW]}, {name: NEW})


SCENARIOS: dict[str, Callable[[Path], Scenario]] = {
    "fresh": fresh,
    "on a pod's own volume": own_volume,
    "mutated": mutated,
    "beside": beside,
    "collecting": collecting,
    "damaged": damaged,
    "damaged on a pod's own volume": lambda home: damaged(home, kept=False),
}


def versions(volume: Path) -> dict[str, dict[str, bytes]]:
    """What readers can see: every name that is not hidden."""
    if not volume.is_dir():
        return {}
    return {
        path.name: {file: data for file, data in tree(path).items() if file != LOCK}
        for path in volume.iterdir()
        if not path.name.startswith(".")
    }


def check_seen(scenario: Scenario, volume: Path) -> None:
    for name, files in versions(volume).items():
        assert files in scenario.allowed[name], f"{name} is neither old nor new"


def check_recovery(scenario: Scenario, noted: frozenset[str]) -> None:
    """The next sync succeeds, asks for nothing that is there for certain, and leaves nothing over."""
    world = scenario.world
    own = scenario.own
    there = versions(world.volume).get(own) == scenario.wanted[own]
    scenario.sync(Unsynced())
    assert not there or not world.store.streamed, "what has its name is known to be verified"
    assert not noted & set(world.store.streamed), "noted and brought again"
    assert versions(world.volume) == scenario.wanted
    hidden = {path.name for path in world.volume.iterdir() if path.name.startswith(".")}
    records = {f".slipway-{name}.json" for name in scenario.wanted}
    assert hidden == records | ({LOCK} if world.kept else set())


def noted_in(text: str) -> frozenset[str]:
    """Paths in a journal; a line that was cut off is none."""
    found = set()
    for line in text.splitlines():
        try:
            found.add(json.loads(line)["path"])
        except ValueError:
            continue
    return frozenset(found)


def states(start: Disk, operations: list[Operation]) -> Iterator[tuple[str, Disk, frozenset[str]]]:
    """Yield every state that a crash can leave, once: what happened, the disk, what is noted in it."""
    seen: set[tuple[str, frozenset[str]]] = set()
    for count in range(len(operations) + 1):
        done = operations[:count]
        durable = noted_in(durable_text(start, done, "journal.jsonl"))
        everything = killed(start, done)
        noted = [noted_in(text) for text in journals(everything)]
        crashes = [("killed", everything, frozenset().union(*noted))]
        crashes += [
            (f"power lost, {loss}", power_lost(start, done, loss, count), durable)
            for loss in LOSSES
        ]
        for what, disk, sure in crashes:
            key = (disk.fingerprint(), sure)
            if key not in seen:
                seen.add(key)
                yield f"{what} after {count} of {len(operations)} operations", disk, sure


def journals(disk: Disk) -> list[str]:
    return [
        disk.files.get(node, b"").decode()
        for path, node in disk.tree()
        if path.endswith("journal.jsonl")
    ]


@pytest.mark.parametrize(
    ("name", "period"), [*((name, 0.03) for name in SCENARIOS), ("fresh", 1e9), ("mutated", 1e9)]
)
def test_whatever_a_crash_leaves_is_old_or_new_and_the_next_sync_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, period: float
) -> None:
    """With the journal brought to the disk often, and never."""
    monkeypatch.setattr(journal, "_PERIOD", period)
    scenario = SCENARIOS[name](tmp_path / "first")
    world = scenario.world
    root = world.home / "disk"
    recorder = Recorder(root)
    scenario.sync(recorder)
    assert versions(world.volume) == scenario.wanted
    without_power = 0
    for what, disk, noted in states(recorder.start, recorder.operations):
        without_power += what.startswith("power")
        home = tmp_path / "again"
        disk.write_to(home)
        world.place = home
        try:
            check_seen(scenario, world.volume)
            check_recovery(scenario, noted)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error
        shutil.rmtree(home)
    assert without_power > 10, "power failures leave what kills do not"
    for loss in LOSSES:
        home = tmp_path / "ended"
        power_lost(recorder.start, recorder.operations, loss, 0).write_to(home)
        world.place = home
        found = versions(world.volume)
        assert {key: found.get(key) for key in scenario.wanted} == scenario.wanted, (
            "what a sync has reported is there for ever"
        )
        shutil.rmtree(home)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_file_is_brought_to_the_disk_once(tmp_path: Path, name: str) -> None:
    scenario = SCENARIOS[name](tmp_path)
    recorder = Recorder(scenario.world.place)
    scenario.sync(recorder)
    contents_written = {
        operation.node
        for operation in recorder.operations
        if isinstance(operation, Write) and operation.data in scenario.wanted[scenario.own].values()
    }
    assert contents_written
    for node in contents_written:
        assert recorder.operations.count(Fsync(node)) == 1


class FailsAt(Unsynced):
    """Fails at one operation and, as a full disk does, at each of its kind that follows."""

    def __init__(self, at: int, error: int) -> None:
        self.count = 0
        self.failed = ""
        self._at = at
        self._error = error

    def _step(self, name: str, *, takes_room: bool) -> None:
        self.count += 1
        if self.count == self._at or (self.failed and takes_room and self._error == errno.ENOSPC):
            self.failed = self.failed or name
            raise OSError(self._error, os.strerror(self._error))


def _failing(name: str, *, takes_room: bool) -> None:
    real = getattr(Unsynced, name)

    def operation(self: FailsAt, *args: Any, **options: Any) -> Any:
        self._step(name, takes_room=takes_room)
        return real(self, *args, **options)

    setattr(FailsAt, name, operation)


for _name in ("make_directory", "create", "open_lock", "pwrite", "append", "link", "rename"):
    _failing(_name, takes_room=True)
for _name in ("make_read_only", "fsync", "fsync_directory", "unlink", "remove_directory", "touch"):
    _failing(_name, takes_room=False)


FULL, BROKEN = (errno.ENOSPC, "the volume is full"), (errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("name", "number", "sentence"),
    [(name, *FULL) for name in SCENARIOS]
    + [(name, *BROKEN) for name in ("mutated", "collecting", "damaged")],
)
def test_an_error_at_any_operation_leaves_old_or_new_and_is_said(
    tmp_path: Path, name: str, number: int, sentence: str
) -> None:
    """A full disk at every write, and a broken one at every call."""
    scenario = SCENARIOS[name](tmp_path / "first")
    before = Recorder(scenario.world.place).start
    at = 0
    told = 0
    while True:
        at += 1
        scenario.world.place = tmp_path / "disk"
        before.write_to(scenario.world.place)
        operations = FailsAt(at, number)
        try:
            scenario.sync(operations)
        except SyncError as error:
            told += 1
            said = (error.code, sentence in str(error))
            check_seen(scenario, scenario.world.volume)
        else:
            said = (ExitCode.VOLUME_ERROR, True)
            # What is only tidied up, or a time that cannot be set, harms no version.
            assert versions(scenario.world.volume).items() >= scenario.wanted.items()
        assert said == (ExitCode.VOLUME_ERROR, True)
        if not operations.failed:
            break
        check_recovery(scenario, frozenset())
        shutil.rmtree(scenario.world.place)
    assert told > 20


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    with killed_syncs.starter() as process:
        yield process


@pytest.mark.parametrize(
    ("name", "step"), [("fresh", 1), ("mutated", 4), ("collecting", 4), ("damaged", 4)]
)
def test_a_process_that_is_killed_leaves_old_or_new_and_the_next_one_goes_on(
    tmp_path: Path, starter: Starter, name: str, step: int
) -> None:
    """No model of a disk: SIGKILL, with several files under way, and the next sync does not wait."""
    scenario = SCENARIOS[name](tmp_path / "first")
    world = scenario.world
    before = Recorder(world.place).start
    at = 1
    while True:
        world.place = tmp_path / "disk"
        before.write_to(world.place)
        within_limit = starter.sync(
            home=world.home,
            place=world.place,
            kept=world.kept,
            now=world.now,
            version=scenario.version,
            keep=scenario.more.get("keep", ""),
            at=at,
        )
        check_seen(scenario, world.volume)
        if within_limit == "ended":
            assert versions(world.volume) == scenario.wanted
            break
        assert within_limit == "killed"
        lines = [path.read_text() for path in world.volume.glob(".slipway-*.partial/journal.jsonl")]
        check_recovery(scenario, frozenset().union(*map(noted_in, lines)))
        assert "waiting" not in world.events()
        shutil.rmtree(world.place)
        at += step
    assert at > 15
