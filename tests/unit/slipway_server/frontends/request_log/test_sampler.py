"""§2, §11: `logging_config`. What is in a record needs TensorFlow: tests/integration/test_server_logs.py."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from slipway_server.frontends.request_log.background import QueueBounds
from slipway_server.frontends.request_log.sampler import RequestLog
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


class World:
    def __init__(self, tmp: Path, numbers: tuple[float, ...] = (0.0,), items: int = 100) -> None:
        self.disk = Disk()
        self.telemetry = Telemetry({"m"}.__contains__)
        drawn = iter(numbers * 100)
        self.log = RequestLog(
            self.telemetry.registry,
            open_file=self.disk.open,
            max_bytes=100,
            random=lambda: next(drawn),
            now=lambda: 0.0,
            bounds=QueueBounds(items=items),
        )
        self.rule = LoggingRule(str(tmp / "logs" / "m"), 0.5)
        self.log.configure({"m": self.rule})

    def keep(self, record: Any) -> None:
        self.log.keep("m", self.rule, record, 1)

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
        assert go.wait(10)
        return b""

    world.keep(slow)
    assert begun.wait(10)
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
