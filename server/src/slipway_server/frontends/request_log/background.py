"""Work that requests leave to a thread of its own, and rather drop than wait for."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

_log: Final = structlog.get_logger("slipway_server.background")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How many items, and bytes of them, may wait."""

    items: int = 1000
    size: int = 64 << 20


class Background(Generic[T]):
    """A bounded queue and the thread that empties it.

    Args:
        work: takes everything that has come together; what it raises is logged, and the next ones come all the same.
        name: of the thread.
    """

    def __init__(self, work: Callable[[Sequence[T]], None], name: str, bounds: QueueBounds) -> None:
        self._work = work
        self._bounds = bounds
        self._condition = threading.Condition()
        self._items: deque[tuple[T, int]] = deque()
        self._size = 0
        self._busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, item: T, size: int) -> bool:
        """Leave an item of so many bytes to the thread; False when too much waits already."""
        with self._condition:
            if (
                self._closed
                or len(self._items) >= self._bounds.items
                or self._size + size > self._bounds.size
            ):
                return False
            self._items.append((item, size))
            self._size += size
            if not self._busy:
                self._condition.notify()
            return True

    def close(self, timeout: float) -> None:
        """Take nothing more and give the thread `timeout` seconds for what waits."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.wait_for(lambda: self._items or self._closed)
                if not self._items:
                    return
                self._busy = True
                items = [item for item, _ in self._items]
                self._items.clear()
                self._size = 0
            try:
                self._work(items)
            except Exception:  # noqa: BLE001 - a full disk may have room again
                _log.exception("work in the background failed", thread=self._thread.name)
