"""Brings the files of a version to the volume: parallel ranged reads, each file verified when whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from slipway_sync.agent.errors import SyncError, of_replacement, of_source, volume_errors
from slipway_sync.agent.fetch.file_check import FileCheck
from slipway_sync.agent.fetch.zero_copy import FileSink, run_transfer
from slipway_sync.agent.progress import Progress
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.agent.threads import in_thread
from slipway_sync.agent.volume.staging import StagingDirectory
from slipway_sync.exports import (
    Bundle,
    ExitCode,
    ObjectInfo,
    TensorEntry,
    printable,
)
from slipway_sync.stores import (
    ObjectReplacedError,
    RangeTransferStore,
    SourceError,
    Store,
    WrongAnswerError,
)

PART = 16 << 20
"""Bytes of one request: large enough that its latency does not matter, small enough that many
requests share one large file. It is streamed; memory holds some MiB for each request."""
_CAREFUL = 256 << 10
"""Bytes of the next request after one that broke off: more would be lost with the next break."""
_PROGRESS = 64 << 10
"""An attempt that brings fewer bytes has failed: a trickle would never end."""
_FETCHES = 2
"""How often a file is fetched whose content proves wrong: the line may have been, not the source."""


@dataclass(slots=True)
class _File:
    """One file under way."""

    item: ObjectInfo
    tensors: tuple[TensorEntry, ...]
    known: bytes | None
    """SHA-256 of what lies there already, on the disk: from an earlier run or another version."""
    check: FileCheck
    parts_left: int = 0
    arrived: set[int] = field(default_factory=set)
    """Where the parts begin that are there."""
    checked: int = 0
    """So far the file was read again: a part's beginning."""
    descriptor: int = -1
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)
    ranged: bool = True

    def parts(self) -> list[tuple[int, int]]:
        """Return start and length of the requests that bring this file."""
        size = self.item.size
        part = PART if self.ranged else max(size, 1)
        return [(start, min(part, size - start)) for start in range(0, size, part)]


@dataclass(slots=True)
class _Part:
    """A range of a file under way: bytes up to `position` are written."""

    position: int
    end: int


class Transfer:
    """Brings objects of one version's directory into a partial directory."""

    def __init__(
        self,
        store: Store,
        directory: str,
        target: StagingDirectory,
        retry: RetryPolicy,
        progress: Progress,
        *,
        concurrency: int,
        is_listed: Callable[[], Awaitable[bool]],
    ) -> None:
        """Bring into `target`; `is_listed` asks the source whether it still lists what was planned."""
        self._store = store
        self._is_listed = is_listed
        self._directory = directory
        self._partial = target
        self._retry = retry
        self._progress = progress
        self._concurrency = concurrency
        # As many as there are workers, so that none waits for a thread while it could transfer.
        self._threads = ThreadPoolExecutor(concurrency, "pour")

    async def bring(
        self,
        items: Iterable[ObjectInfo],
        known: Mapping[tuple[str, int, str], bytes],
        bundle: Bundle | None,
    ) -> dict[str, bytes]:
        """Bring objects and verify them; return the SHA-256 of each.

        Args:
            items: What to bring.
            known: What an earlier run brought already (see StagingDirectory.verified_files).
            bundle: The index whose shards may be among the items.

        Raises:
            SyncError: Some object cannot be brought or is wrong.
        """
        listed = list(items)
        # Asked before, for what makes the files one by one cannot wait.
        streams = {
            item.path
            for item in listed
            if item.size > PART and not await self._store.ranged(self._directory, item)
        }
        hashes: dict[str, bytes] = {}
        begun: dict[int, _File] = {}
        tensors = bundle.tensors_by_path() if bundle is not None else {}
        files = self._files(listed, known, tensors, streams, begun)
        queue = _queue(files)
        workers = [self._work(queue, hashes, begun) for _ in range(self._concurrency)]
        try:
            await _all_or_first_error(workers)
        finally:
            for file in begun.values():
                file.check.close()
                _close(file)
        return hashes

    def _files(
        self,
        items: Iterable[ObjectInfo],
        known: Mapping[tuple[str, int, str], bytes],
        shards: Mapping[str, tuple[TensorEntry, ...]],
        streams: Container[str],
        begun: dict[int, _File],
    ) -> Iterator[_File]:
        """Make each file when its turn comes: an export may have very many."""
        for item in items:
            tensors = shards.get(item.path, ())
            file = _File(
                item,
                tensors,
                known.get((item.path, item.size, item.etag)),
                self._check(item, tensors),
                ranged=item.path not in streams,
            )
            begun[id(file)] = file
            yield file

    async def _work(
        self,
        queue: Iterator[tuple[_File, int, int]],
        hashes: dict[str, bytes],
        begun: dict[int, _File],
    ) -> None:
        for file, start, length in queue:
            if length:
                await self._fetch(file, start, length)
                file.arrived.add(start)
                if file.parts_left > 1:
                    await self._read_ahead(file)
            file.parts_left -= 1
            if file.parts_left <= 0:
                hashes[file.item.path] = await self._finish(file)
                del begun[id(file)]

    async def _read_ahead(self, file: _File) -> None:
        """Read a file again as far as it is whole from its beginning; one worker at a time does."""
        if file.checking.locked():
            return
        async with file.checking:
            while file.checked in file.arrived:
                end = min(file.checked + PART, file.item.size)
                await in_thread(partial(file.check.read, end))
                file.checked = end

    def _check(self, item: ObjectInfo, tensors: Sequence[TensorEntry]) -> FileCheck:
        return FileCheck(self._partial.files / item.path, item, tensors)

    async def _fetch(self, file: _File, start: int, length: int) -> None:
        """Bring one part; after an interruption go on from where it stood."""
        async with file.opening:
            if file.descriptor < 0:
                file.descriptor = await in_thread(lambda: self._partial.create(file.item.path))
        part = _Part(start, start + length)
        attempt = 0
        reach = PART
        while part.position < part.end:
            before = part.position
            try:
                # One stream that breaks off starts from the file's beginning again: no small steps.
                end = min(part.end, before + reach) if file.ranged else part.end
                await self._receive(file, part, end)
                reach = min(PART, 4 * reach)
            except (SourceError, ObjectReplacedError) as error:
                if isinstance(error, WrongAnswerError) and not error.trusted:
                    self._progress.take_back(part.position - before)
                    part.position = before
                attempt = 1 if part.position - before >= _PROGRESS else attempt + 1
                await self._again_or_give_up(file.item.path, error, attempt)
                reach = _CAREFUL

    async def _again_or_give_up(
        self, path: str, error: SourceError | ObjectReplacedError, attempt: int
    ) -> None:
        """Wait for the next attempt, or raise what the failed ones amount to."""
        last = attempt >= self._retry.tries
        if isinstance(error, SourceError):
            if last or error.reason != "Unavailable":
                raise of_source(error, path) from error
        else:
            # The object alone does not tell a new export from a store that is not of one mind.
            try:
                listed = await self._is_listed()
            except SourceError as trouble:
                raise of_source(trouble, path) from trouble
            if last or not listed:
                raise of_replacement(error, listed=listed) from error
        await self._retry.after(attempt)

    async def _receive(self, file: _File, part: _Part, end: int) -> None:
        """Write what the source sends up to `end`, and keep the part's position, whatever happens."""
        await self._pour(file, part, end)
        if part.position == end:
            return
        async for chunk in self._store.stream(
            self._directory, file.item, start=part.position, length=end - part.position
        ):
            if part.position + len(chunk) > end:
                # What lies there is another part's.
                message = f"{printable(file.item.path)} is too long"
                raise WrongAnswerError("WrongSize", message, trusted=False)
            await in_thread(partial(_write, self._partial, file, chunk, part.position))
            part.position += len(chunk)
            self._progress.add_bytes(len(chunk))
        if part.position < end:
            left = end - part.position
            raise WrongAnswerError(
                "WrongSize", f"{printable(file.item.path)} ends {left} bytes early"
            )

    async def _pour(self, file: _File, part: _Part, end: int) -> None:
        """Bring what the store's fast way brings, if it has one."""
        if not isinstance(self._store, RangeTransferStore) or not file.ranged:
            return
        loop = asyncio.get_running_loop()
        sink = FileSink(
            self._partial,
            file.descriptor,
            file.item.path,
            lambda count: loop.call_soon_threadsafe(self._progress.add_bytes, count),
        )
        range_transfer = self._store.range_transfer(
            self._directory,
            file.item,
            sink,
            start=part.position,
            length=end - part.position,
        )
        if range_transfer is None:
            return
        try:
            await run_transfer(range_transfer, self._threads)
        finally:
            part.position = range_transfer.position
            self._progress.add_bytes(sink.untold)

    async def _finish(self, file: _File) -> bytes:
        """Verify a file that is there, bring it again when it is wrong, make it durable."""
        item = file.item
        if file.known is not None:
            self._progress.add_bytes(item.size, moved=False)
            try:
                found = await in_thread(file.check.finish)
            except SyncError:
                found = b""
            if found == file.known:
                self._progress.add_file()
                return found
            file.known = None
            await self._again(file)
        elif not file.item.size:
            file.descriptor = await in_thread(lambda: self._partial.create(item.path))
        for attempt in range(1, _FETCHES + 1):
            try:
                found = await in_thread(lambda: file.check.finish(self._partial.seal))
                break
            except SyncError as error:
                if error.code is not ExitCode.REJECTED or attempt == _FETCHES:
                    raise
                await self._again(file)
        _close(file)
        await in_thread(lambda: self._partial.note_verified(item, found))
        self._progress.add_file()
        return found

    async def _again(self, file: _File) -> None:
        file.check.close()
        file.check = self._check(file.item, file.tensors)
        _close(file)
        self._progress.take_back(file.item.size)
        for start, length in file.parts():
            await self._fetch(file, start, length)


def _write(target: StagingDirectory, file: _File, data: bytes, at: int) -> None:
    with volume_errors(file.item.path):
        target.write(file.descriptor, data, at)


def _close(file: _File) -> None:
    if file.descriptor >= 0:
        descriptor, file.descriptor = file.descriptor, -1
        with volume_errors(file.item.path):
            os.close(descriptor)


def _queue(files: Iterable[_File]) -> Iterator[tuple[_File, int, int]]:
    """Yield (file, start, length); length 0 says that there is nothing to fetch."""
    for file in files:
        parts = [] if file.known is not None else file.parts()
        file.parts_left = len(parts)
        if not parts:
            yield file, 0, 0
        for start, length in parts:
            yield file, start, length


async def _all_or_first_error(workers: Sequence[Awaitable[None]]) -> None:
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
