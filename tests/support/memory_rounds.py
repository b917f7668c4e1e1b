"""How much memory stays after many loads: `python -m memory_rounds EXPORT unloaded|refused`, in a process of its own.

What else a process has done decides how much its allocators keep, so this one does nothing else. Prints JSON:
`growth` in bytes, and the `errors` of refused loads.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from loaders import servable_loader
from slipway_server.core.load_retry import Bounds, RetryRule
from slipway_server.core.managed_version import AspiredVersion
from slipway_server.core.manager import Manager
from slipway_server.core.policies import availability_preserving
from slipway_server.core.serving_map import ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.servables.loader import ServableLoader

WARM_UP: Final = 3
ROUNDS: Final = 20


def resident() -> int:
    """Bytes of this process's own memory."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def growth(work: Callable[[], None]) -> int:
    """Bytes by which many rounds grow the process, after a few that do not count."""
    for _ in range(WARM_UP):
        work()
    before = resident()
    for _ in range(ROUNDS):
        work()
    return resident() - before


def unloaded(loader: ServableLoader, path: str) -> dict[str, Any]:
    """Load, ask once, unload."""

    def work() -> None:
        model = loader.load("m", 1, path)
        model.run(model.signatures["serving_default"], {"x": np.zeros(1, np.float32)}, ["y"])
        loader.unload(model)

    return {"growth": growth(work), "errors": []}


def refused(loader: ServableLoader, path: str) -> dict[str, Any]:
    """Aspire one version after the other of an export that cannot be loaded."""
    monitor, ended = StateMonitor(), threading.Event()
    errors: list[str] = []

    def listen(state: VersionState) -> None:
        if state.availability is Availability.END:
            errors.append(str(state.error))
            ended.set()

    monitor.listen(listen)
    manager: Manager[Any] = Manager(
        loader,
        ServingMap(),
        monitor,
        availability_preserving,
        retry=RetryRule(0, 0),
        bounds=Bounds(1),
    )
    manager.start()
    version = iter(range(1, 1000))

    def work() -> None:
        ended.clear()
        manager.aspire("m", [AspiredVersion(next(version), path)])
        if not ended.wait(60):
            raise TimeoutError(path)

    grown = growth(work)
    manager.stop()
    return {"growth": grown, "errors": errors}


def main() -> None:
    """Measure, without the help of the garbage collector."""
    path, kind = sys.argv[1:]
    loader = servable_loader()
    gc.collect()
    gc.disable()
    found = {"unloaded": unloaded, "refused": refused}[kind](loader, path)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
