"""What the watch of a volume tells, and how its log is read."""

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from slipway_sync.agent.inplace.watch import HEARTBEAT, Look, Teller, Wanted, watch
from slipway_sync.exports.protocol.report import (
    LINE_LIMIT,
    MAX_VERSIONS,
    REPEAT_AFTER,
    TAIL_LINES,
    Report,
    ReportedVersion,
    Standing,
    bounded,
    parse_tail,
    render,
)
from slipway_sync.stores import MountedStore
from small_exports import ASSET, SHARD_1, contents, write


class World:
    """A volume, a clock that the test turns, and the lines that were told."""

    def __init__(self, mount: Path, **wanted: Any) -> None:
        self.mount = mount
        self.now = 100.0
        self.lines: list[str] = []
        self.look = Look(
            MountedStore(mount, "m"), Wanted(**({"settle": 5.0} | wanted)), lambda: self.now
        )
        self.teller = Teller(self.lines.append)
        (mount / "m").mkdir(parents=True)

    def upload(self, version: str, files: dict[str, bytes] | None = None) -> None:
        write(self.mount / "m" / version, contents() if files is None else files)

    def report(self, after: float = 0) -> Report:
        self.now += after
        return asyncio.run(self.look.once())

    def standings(self, after: float = 0) -> dict[int, Standing]:
        return {v.number: v.standing for v in self.report(after).versions}


class HangingLook(Look):
    """A look at a volume that answers when the test lets it."""

    answer: asyncio.Event

    @override
    async def once(self) -> Report:
        await self.answer.wait()
        return Report()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_export_settles_and_is_complete(world: World) -> None:
    assert world.report() == Report()
    world.upload("00000003")
    assert world.standings() == {3: Standing.SETTLING}
    assert world.look.due() == pytest.approx(5)
    assert world.standings(4.9) == {3: Standing.SETTLING}
    (found,) = world.report(0.2).versions
    assert found.standing is Standing.COMPLETE
    assert found.directory == "00000003"
    assert found.bytes == sum(map(len, contents().values()))
    assert (found.reason, found.message) == ("", "")
    assert world.look.due() is None
    (world.mount / "m" / "00000003" / ASSET).write_bytes(b"pears\n")
    assert world.standings() == {3: Standing.SETTLING}
    assert world.standings(5) == {3: Standing.COMPLETE}


def test_a_part_of_an_export_is_named_and_waited_for(world: World) -> None:
    world.upload("1", {path: c for path, c in contents().items() if path != SHARD_1})
    world.report()
    (found,) = world.report(5).versions
    assert (found.standing, found.reason, found.object) == (
        Standing.INCOMPLETE,
        "MissingShard",
        SHARD_1,
    )
    world.upload("1", {SHARD_1: contents()[SHARD_1]})
    world.report()
    assert world.standings(5) == {1: Standing.COMPLETE}


def test_hostile_things_concern_their_version_alone(world: World) -> None:
    for version in "1234":
        world.upload(version)
    os.mkfifo(world.mount / "m" / "2" / "pipe")
    (world.mount / "m" / "3" / "a\nb").write_bytes(b"")
    (world.mount / "m" / "4" / "saved_model.pb").unlink()
    (world.mount / "m" / "4" / "saved_model.pb").symlink_to("/etc/passwd")
    (world.mount / "m" / "5").symlink_to("1")
    world.report()
    report = world.report(5)
    found = {v.number: (v.standing, v.reason) for v in report.versions}
    assert found == {
        1: (Standing.COMPLETE, ""),
        2: (Standing.REJECTED, "NotAFile"),
        3: (Standing.REJECTED, "HostileKey"),
        4: (Standing.REJECTED, "NotAFile"),
    }
    assert "5 is not a directory" in report.warnings[0]
    assert "\n" not in render(report, 1)
    assert parse_tail(render(report, 1)).report == report  # type: ignore[union-attr]


def test_no_more_is_looked_at_than_is_wanted(tmp_path: Path) -> None:
    world = World(tmp_path, complete=2, settle=0.0)
    for version in "1234":
        world.upload(version)
    (tmp_path / "m" / "3" / "saved_model.pb").unlink()
    assert world.standings() == {
        1: Standing.UNSEEN,
        2: Standing.COMPLETE,
        3: Standing.INCOMPLETE,
        4: Standing.COMPLETE,
    }
    world.look.wanted = Wanted(numbers=frozenset({1}), settle=0.0)
    assert world.standings()[1] is Standing.COMPLETE
    assert world.standings()[4] is Standing.UNSEEN


def test_trouble_with_the_directory_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "m").rmdir()
    report = world.report()
    assert report.error_reason == "NotFound"
    assert "does not exist" in report.error_message


def test_however_much_lies_there_a_line_is_bounded() -> None:
    versions = tuple(
        ReportedVersion(
            2**62 + n, "0" * 230 + str(2**62 + n), Standing.REJECTED, "a" * 64, 2**62, "HostileKey",
            "\u202e\n" * 5000, "\u202e" * 5000,
        )
        for n in range(2000)
    )  # fmt: skip
    report = bounded(Report(versions, ("w" * 9000,) * 99, "InvalidSource", "m" * 9000))
    line = render(report, 1)
    assert len(line) <= LINE_LIMIT
    assert len(report.versions) == MAX_VERSIONS
    assert report.versions[-1].number == 2**62 + 1999
    assert "1744 versions below" in report.warnings[-1]
    tail = parse_tail(line)
    assert tail is not None
    assert tail.report == report


def test_the_last_lines_always_hold_the_state(world: World) -> None:
    world.upload("1")
    for number in range(60):
        world.teller.tell(world.report(1 if number else 0))
        if number % 3 == 0:
            world.teller.beat()
        tail = parse_tail("\n".join(world.lines[-TAIL_LINES:]))
        assert tail is not None
        assert tail.report is not None
        assert tail.sequence == len(world.lines)
        assert tail.report.state == tail.state
    whole = [json.loads(line)["event"] == "versions" for line in world.lines]
    assert whole.count(True) <= 3 + len(whole) // REPEAT_AFTER


def test_a_volume_that_does_not_answer_is_told_of_while_it_does_not(world: World) -> None:
    """A look that hangs stops no heartbeat, and the heartbeat says for how long it has."""

    async def scenario() -> None:
        answer = asyncio.Event()

        told = asyncio.Event()

        async def sleep(seconds: float) -> None:
            world.now += seconds
            if len(world.lines) >= 3:
                answer.set()
            if len(world.lines) >= 7:
                told.set()
            await asyncio.sleep(0)

        look = HangingLook(world.look.store, world.look.wanted, world.look.clock)
        look.answer = answer
        watching = asyncio.ensure_future(watch(look, world.teller, lambda: 30.0, sleep))
        await asyncio.wait_for(told.wait(), 10)
        watching.cancel()

    asyncio.run(scenario())
    told = [json.loads(line) for line in world.lines]
    polling = [line["pollingSeconds"] for line in told]
    assert polling[:3] == [HEARTBEAT, 2 * HEARTBEAT, 3 * HEARTBEAT]
    assert told[0]["state"] == ""
    assert parse_tail(world.lines[0]).report is None  # type: ignore[union-attr]
    first = next(n for n, line in enumerate(told) if line["event"] == "versions")
    assert set(polling[first:]) == {0}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "not JSON",
        "[1]",
        "[" * 100_000,
        '{"event": "progress", "sequence": 1, "state": ""}',
        '{"event": "heartbeat", "sequence": "1", "state": ""}',
        '{"event": "heartbeat", "sequence": 1, "state": 7}',
        '{"event": "heartbeat", "sequence": 1' + "0" * 30 + ', "state": ""}',
        '{"event": "heartbeat", "sequence": 1, "state": "x", "more": "' + "x" * LINE_LIMIT + '"}',
    ],
)
def test_other_lines_are_passed_over(line: str) -> None:
    assert parse_tail(line) is None


@pytest.mark.parametrize(
    "version",
    [
        {"version": 1, "directory": "../1", "state": "Complete"},
        {"version": 1, "directory": "2", "state": "Complete"},
        {"version": 1, "directory": "1", "state": "Wonderful"},
        {"version": 1, "directory": "1", "state": "Complete", "revision": "short"},
        {"version": 1, "directory": "1", "state": "Complete", "bytes": "many"},
        {"version": 1, "directory": "1", "state": "Complete", "bytes": -1},
        {"version": 1, "directory": "1", "state": "Complete", "bytes": 10**30},
        {"version": 1, "directory": "1", "state": "Rejected", "reason": "no word"},
        {"version": 1, "directory": "1", "state": "Complete", "message": 7},
        {"directory": "1", "state": "Complete"},
        "1",
    ],
)
def test_a_state_that_cannot_be_is_not_believed(version: Any) -> None:
    line = {"event": "versions", "sequence": 1, "state": "x", "versions": [version]}
    tail = parse_tail(json.dumps(line | {"warnings": [], "reason": "", "message": ""}))
    assert tail is not None
    assert tail.report is None


def test_numbers_and_reasons_that_nobody_could_hold_are_not_believed() -> None:
    beat = {"event": "heartbeat", "sequence": 1, "state": "x"}
    tail = parse_tail(json.dumps(beat | {"pollingSeconds": 10**30}))
    assert tail is not None
    assert tail.polling_seconds == 0
    tail = parse_tail(json.dumps(beat | {"pollingSeconds": 2**62}))
    assert tail is not None
    assert timedelta(seconds=tail.polling_seconds) > timedelta(days=365)
    state = {"event": "versions", "versions": [], "warnings": [], "message": ""}
    tail = parse_tail(json.dumps(beat | state | {"reason": "Not a reason\n"}))
    assert tail is not None
    assert tail.report is None
