"""Takes the guide's pictures of the status page: `python -m status_page_picture docs/assets`.

tests/support and e2e must be on the PYTHONPATH.
"""

import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from browser import browsing
from slipway_operator.status_page.application import application, serve
from slipway_operator.status_page.board import Board

NOW = datetime.now(UTC)


def before(**ago: float) -> str:
    return (NOW - timedelta(**ago)).isoformat(timespec="seconds").replace("+00:00", "Z")


def version(
    number: int, state: str, weight: int = 0, pods: str = "0/0", **more: Any
) -> dict[str, Any]:
    ready, replicas = map(int, pods.split("/"))
    counts = {"weight": weight, "replicas": replicas, "readyReplicas": ready}
    return {
        "version": number,
        "state": state,
        **counts,
        "since": before(minutes=9 * number),
        **more,
    }


def record(start: str, end: str, outcome: str, duration: str, **more: Any) -> dict[str, Any]:
    return {
        "from": start, "to": end, "cause": "NewExport", "startedAt": before(days=2), "endedAt": before(days=2),
        "outcome": outcome, "duration": duration, **more,
    }  # fmt: skip


MODELS: dict[tuple[str, str], dict[str, Any]] = {
    ("vision", "digits"): {
        "phase": "Shifting 1/2", "serving": "6 67%, 7 33%", "target": "7", "ready": "3/2",
        "versions": [
            version(7, "Loading", 33, "1/2", since=before(seconds=41)),
            version(6, "Available", 67, "2/2"), version(5, "Retired"),
        ],
        "history": [
            {"from": "6", "to": "7", "cause": "NewExport", "startedAt": before(seconds=41)},
            record("4", "6", "Completed", "52s"),
            record("4", "5", "RolledBack", "38s", message="version 5 needs more memory than 2Gi"),
        ],
    },
    ("vision", "segmentation"): {
        "phase": "Canary 10% 1/2", "serving": "21 90%, 22 10%", "target": "22", "ready": "10/10",
        "versions": [
            version(22, "Canary", 10, "1/1", since=before(minutes=4)),
            version(21, "Available", 90, "9/9"),
        ],
        "history": [],
    },
    ("ads", "ranking"): {
        "phase": "Available", "serving": "1733", "target": "1733", "ready": "12/12",
        "versions": [
            version(1733, "Available", 100, "12/12", since=before(hours=5)),
            version(1732, "Retired", since=before(hours=5)),
        ],
        "history": [],
    },
    ("ads", "bidding"): {
        "phase": "Rejected 9", "serving": "8", "target": "8", "ready": "4/4",
        "message": "version 9: MissingShard: variables/variables.data-00001-of-00002 is missing",
        "versions": [
            version(9, "Rejected", reason="MissingShard", message="data-00001-of-00002 is missing"),
            version(8, "Available", 100, "4/4"),
        ],
        "history": [],
    },
}  # fmt: skip


def main(folder: Path) -> None:
    board = Board(time.monotonic)
    for number, ((namespace, name), status) in enumerate(MODELS.items()):
        metadata = {"namespace": namespace, "name": name, "uid": str(number)}
        degraded = "True" if status.get("message") else "False"
        conditions = [{"type": "Ready", "status": "True"}, {"type": "Degraded", "status": degraded}]
        board.changed(None, {"metadata": metadata, "status": {**status, "conditions": conditions}})
    asyncio.run(_serve_and_look(board, folder))


async def _serve_and_look(board: Board, folder: Path) -> None:
    runner = await serve(application(board), "127.0.0.1", 0)
    await asyncio.to_thread(_look, runner.addresses[0][1], folder)
    await runner.cleanup()


def _look(port: int, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as work, browsing(Path(work)) as page:
        page.open(f"http://localhost:{port}/ui/")
        page.wait("all are shown", f"document.querySelectorAll('article').length === {len(MODELS)}")
        page.ask("document.getElementById('vision/digits').querySelector('details').open = true")
        page.look(folder / "status-page.png", width=1080, height=800)
        page.look(folder / "status-page-dark.png", width=400, height=780, dark=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
