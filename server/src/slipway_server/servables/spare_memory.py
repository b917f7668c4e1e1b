"""Gives memory back that requests have taken and left to the C library.

glibc keeps what is freed for the next request of the size. After many large ones at once that may be gigabytes, which
the kernel counts as used: the next load, or a neighbour of the container, finds none.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from slipway_server.servables.memory import release_free_memory

SLACK: Final = 128 << 20
"""Bytes that the process may have grown by: to give back less is not worth the time in which no thread can allocate."""
_INTERVAL: Final = 5.0
_PAGE: Final = 4096


def resident_memory() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


class SpareMemory:
    """Looks at the process's size, and releases what is free once it has grown and grows no more.

    Args:
        resident: returns the bytes that are resident.
        release: gives back what is free.
        slack: bytes of growth since it was last small.
    """

    def __init__(
        self,
        resident: Callable[[], int] = resident_memory,
        release: Callable[[], None] = release_free_memory,
        slack: int = SLACK,
    ) -> None:
        self._resident, self._release, self._slack = resident, release, slack
        self._least = self._last = resident()

    def look(self) -> None:
        """Look once. What is in use stays, and counts as the process's size from then on."""
        now = self._resident()
        grows, self._last = now > self._last, now
        self._least = min(self._least, now)
        if not grows and now - self._least > self._slack:
            self._release()
            self._least = self._last = self._resident()

    def watch(self) -> None:
        """Look every few seconds, on a thread of its own, for as long as the process lives."""
        threading.Thread(target=self._watch, name="spare-memory", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_INTERVAL)
            self.look()
