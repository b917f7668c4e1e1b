"""The numbers of a download, from the agent's log lines."""

import json

from slipway_operator.model.observed import SyncProgress
from slipway_operator.reconcile.progress import parse, since
from slipway_sync.agent.progress import Progress, line


def log_line(time: str, **numbers: int) -> str:
    return json.dumps({"event": "progress", **line(numbers), "time": time})


NUMBERS = {"bytes": 5, "totalBytes": 10, "files": 1, "totalFiles": 2, "bytesPerSecond": 3}


def test_what_the_agent_says_is_what_the_operator_reads() -> None:
    log = "\n".join(["garbage", log_line("1", **NUMBERS), '{"event": "retrying"}', "{" * 5000])
    found = parse(log)
    assert found is not None
    assert found.progress == SyncProgress(5, 10, 1, 2, 3)


def test_a_number_that_has_no_end_is_no_progress() -> None:
    assert parse('{"event": "progress", "bytes": Infinity, "totalBytes": 1}') is None


def test_an_older_agent_is_understood() -> None:
    found = parse('{"event": "progress", "bytes": 1, "totalBytes": 4}')
    assert found is not None
    assert found.progress == SyncProgress(1, 4)


def test_a_line_that_is_read_twice_means_that_nothing_moves() -> None:
    first = parse(log_line("1", **NUMBERS))
    assert since(None, first) == first
    again = since(first, parse(log_line("1", **NUMBERS)))
    assert again is not None
    assert again.progress.rate == 0
    moved = since(again, parse(log_line("2", **NUMBERS)))
    assert moved is not None
    assert moved.progress.rate == 3


def test_a_line_reads_well() -> None:
    told = line(
        {
            "bytes": 1_240_000_000,
            "totalBytes": 2_000_000_000,
            "files": 124,
            "totalFiles": 200,
            "bytesPerSecond": 180_000_000,
        }
    )
    assert told["message"] == "62%: 1.2/2.0 GB, 124/200 files, 180 MB/s, about 5 s left"
    assert told["bytes"] == 1_240_000_000
    assert line(dict.fromkeys(NUMBERS, 0))["message"] == "100%: 0/0 B, 0/0 files"


def test_the_rate_is_that_of_the_last_seconds() -> None:
    now = 0.0
    lines: list[dict[str, int]] = []
    progress = Progress(lines.append, lambda: now, total_bytes=100_000, total_files=1)
    for second in range(1, 41):
        now = float(second)
        progress.add_bytes(1000 if second <= 20 else 10)
    rates = [entry["bytesPerSecond"] for entry in lines]
    assert rates[0] == 0
    assert max(rates) == 1000
    assert rates[-1] == 10, "not the mean since the start, which is 505"
