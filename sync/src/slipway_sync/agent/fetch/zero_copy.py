"""The fast way into a file: a store's range transfer, run in a thread, on a descriptor of the volume."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor

from slipway_sync.agent.errors import volume_errors
from slipway_sync.agent.volume.staging import StagingDirectory
from slipway_sync.stores import RangeTransfer

_TOLD_EVERY = 0.5


class FileSink:
    """A file of the volume under way.

    Args:
        target: Where it lies.
        descriptor: The open file, for writing.
        path: What sentences call it.
        moved: Is told now and then of bytes that came; called from the thread that brings them.
        clock: Returns seconds that never go back.

    Attributes:
        untold: Bytes that came since.
    """

    def __init__(
        self,
        target: StagingDirectory,
        descriptor: int,
        path: str,
        moved: Callable[[int], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.untold = 0
        self._target = target
        self._descriptor = descriptor
        self._path = path
        self._moved = moved
        self._clock = clock
        self._told = clock()
        self._spliced = True

    def write(self, data: memoryview, at: int) -> None:
        """Write all bytes at an offset (see Sink)."""
        self._count(len(data))
        with volume_errors(self._path):
            self._target.write(self._descriptor, data, at)

    def take(self, pipe: int, count: int, at: int) -> int:
        """Move bytes from a pipe to an offset (see Sink)."""
        with volume_errors(self._path):
            if self._spliced:
                try:
                    taken = self._target.splice(pipe, self._descriptor, count, at)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    self._spliced = False  # A file system that does not know it.
                else:
                    self._count(taken)
                    return taken
            data = os.read(pipe, count)
        self.write(memoryview(data), at)
        return len(data)

    def _count(self, count: int) -> None:
        # To wake the event loop for each of some thousand pieces would cost as much as moving them.
        self.untold += count
        now = self._clock()
        if now - self._told >= _TOLD_EVERY:
            self._told = now
            told, self.untold = self.untold, 0
            self._moved(told)


async def run_transfer(range_transfer: RangeTransfer, executor: Executor) -> None:
    """Run a range transfer in a thread; when cancelled, stop it and wait until it has stopped.

    A file must not be closed while a thread still writes to its descriptor.

    Raises:
        SyncError: The volume cannot take it.
    """
    running = asyncio.get_running_loop().run_in_executor(executor, range_transfer.run)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        range_transfer.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()
        raise
