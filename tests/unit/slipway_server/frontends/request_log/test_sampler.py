"""§2, §11: `logging_config`. What is in a record needs TensorFlow: tests/integration/test_server_logs.py."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from slipway_server.frontends.request_log.background import QueueBounds
from slipway_server.frontends.request_log.sampler import Entry, RequestLog
from slipway_server.observability.telemetry import Telemetry
from slipway_server.storage.source import LoggingRule


class Disk:
    def __init__(self) -> None:
        self.files: dict[str, list[bytes]] = {}
        self.closed: list[str] = []
        self.full = False

    def open(self, path: str) -> Any:
        disk = self
        records = disk.files.setdefault(Path(path).name, [])

        class File:
            def write(self, record: bytes) -> None:
                if disk.full:
                    raise OSError("No space left on device")
                records.append(record)

            def flush(self) -> None:
                pass

            def close(self) -> None:
                disk.closed.append(Path(path).name)

        return File()


class FullDisk:
    """A real folder on a disk that is full: files can be made, nothing can be written."""

    def __init__(self) -> None:
        self.full = True
        self.opened = 0

    def open(self, path: str) -> Any:
        self.opened += 1
        Path(path).touch()
        disk = self

        class File:
            def write(self, record: bytes) -> None:
                self.buffer = record

            def flush(self) -> None:
                if disk.full:
                    raise OSError("No space left on device")
                with Path(path).open("ab") as file:
                    file.write(self.buffer)

            def close(self) -> None:
                self.flush()

        return File()


class World:
    def __init__(
        self,
        tmp: Path,
        numbers: tuple[float, ...] = (0.0,),
        items: int = 100,
        disk: Any = None,
    ) -> None:
        self.disk = disk or Disk()
        self.clock = 0.0
        self.telemetry = Telemetry({"m"}.__contains__)
        drawn = iter(numbers * 100)
        self.log = RequestLog(
            self.telemetry.registry,
            open_file=self.disk.open,
            max_bytes=100,
            random=lambda: next(drawn),
            now=lambda: 0.0,
            clock=lambda: self.clock,
            bounds=QueueBounds(items=items),
        )
        self.rule = LoggingRule(str(tmp / "logs" / "m"), 0.5)
        self.log.configure({"m": self.rule})

    def keep(self, record: Any) -> None:
        self.log.keep("m", self.rule, record, 1)

    def write(self, count: int) -> None:
        """Write so many records, each in a batch of its own, as the log's thread does."""
        for _ in range(count):
            self.log._write([Entry("m", self.rule, lambda _at: b"record", 0.0)])

    def counts(self) -> dict[str, float]:
        lines = self.telemetry.text().decode().splitlines()
        name = ":tensorflow:serving:request_log_count{"
        found = [line for line in lines if line.startswith(name)]
        return {
            line.split('status_code="')[1].split('"')[0]: float(line.split()[-1]) for line in found
        }


def test_the_rate_decides(tmp_path: Path) -> None:
    world = World(tmp_path, (0.49, 0.5, 0.9, 0.0))
    assert [world.log.sampled("m") is not None for _ in range(4)] == [True, False, False, True]
    assert world.log.sampled("other") is None
    world.log.configure({})
    assert world.log.sampled("m") is None


def test_records_go_to_files_that_follow_each_other(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(5):
        world.keep(lambda at, number=number: bytes([number]) * 40 + str(at).encode())
    world.log.close()
    sizes = [len(records) for records in world.disk.files.values()]
    assert sizes == [2, 2, 1]  # 57 bytes each with their frame; the next file begins beyond 100
    names = list(world.disk.files)
    assert names == sorted(names)
    assert all(name.startswith("m-19700101T000000Z-") for name in names)
    assert world.disk.closed == names
    assert world.counts() == {"OK": 5}
    assert (tmp_path / "logs").is_dir()


def test_what_the_thread_cannot_keep_up_with_is_dropped_and_counted(tmp_path: Path) -> None:
    world = World(tmp_path, items=2)
    begun, go = threading.Event(), threading.Event()

    def slow(_at: int) -> bytes:
        begun.set()
        assert go.wait(60)
        return b""

    world.keep(slow)
    assert begun.wait(60)
    for _ in range(5):
        world.keep(lambda _at: b"")
    go.set()
    world.log.close()
    assert world.counts() == {"OK": 3, "RESOURCE_EXHAUSTED": 3}


def test_a_full_disk_or_an_odd_request_does_not_end_the_log(tmp_path: Path) -> None:
    world = World(tmp_path)

    def odd(_at: int) -> bytes:
        raise ValueError("odd")

    def full(_at: int) -> bytes:
        world.disk.full = True
        return b"lost"

    def good(_at: int) -> bytes:
        world.disk.full = False
        return b"kept"

    for record in (odd, full, good):
        world.keep(record)
    world.log.close()
    assert [records for records in world.disk.files.values() if records] == [[b"kept"]]
    assert world.counts() == {"INTERNAL": 2, "OK": 1}


@pytest.mark.parametrize("rules", [{}, {"m": LoggingRule("/tmp/x", 1.0)}])  # noqa: S108
def test_without_rules_there_is_no_thread(rules: Any) -> None:
    log = RequestLog(
        Telemetry({"m"}.__contains__).registry,
        open_file=lambda _path: pytest.fail("opened"),
        max_bytes=1,
        random=lambda: 0.0,
    )
    log.configure(rules)
    assert (log._queue is not None) is bool(rules)
    log.close()


def test_a_full_disk_is_left_alone_for_longer_and_longer_and_said_once(tmp_path: Path) -> None:
    disk = FullDisk()
    world = World(tmp_path, disk=disk)
    with capture_logs() as said:
        world.write(600)
        assert disk.opened == 2, "once more at once, in case it was the file"
        for second in range(1, 601):
            world.clock = float(second)
            world.write(1)
    assert disk.opened < 20
    assert list((tmp_path / "logs").iterdir()) == []
    assert [line["event"] for line in said] == ["requests are not logged"]
    assert said[0]["error"] == "No space left on device"
    assert world.counts() == {"INTERNAL": 1200}


def test_the_log_goes_on_when_the_disk_has_room_again(tmp_path: Path) -> None:
    disk = FullDisk()
    world = World(tmp_path, disk=disk)
    with capture_logs() as said:
        world.write(10)
        disk.full = False
        world.clock = 61.0
        world.write(3)
        disk.full = True
        world.write(1)
    assert [line["event"] for line in said] == [
        "requests are not logged",
        "requests are logged again",
        "requests are not logged",
    ]
    assert said[1]["left_out"] == 10
    [file] = (tmp_path / "logs").iterdir()
    assert file.read_bytes() == b"record" * 3
    assert world.counts() == {"INTERNAL": 11, "OK": 3}


def test_requests_that_cannot_be_recorded_are_said_once_and_stop_nothing(tmp_path: Path) -> None:
    disk = FullDisk()
    disk.full = False
    world = World(tmp_path, disk=disk)

    def odd(_at: int) -> bytes:
        raise ValueError("odd")

    with capture_logs() as said:
        for _ in range(100):
            world.log._write([Entry("m", world.rule, odd, 0.0)])
            world.write(1)
    assert [line["event"] for line in said] == ["a request cannot be logged"]
    assert world.counts() == {"INTERNAL": 100, "OK": 100}
    assert disk.opened > 1, "each file has 100 bytes"
