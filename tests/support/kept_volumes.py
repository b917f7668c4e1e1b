"""A source and a kept volume, as several pods and versions of one Model use them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from slipway_sync.agent.fetch.fetch import FetchRequest, Runtime, fetch
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.agent.volume.filesystem import FileSystem
from slipway_sync.exports import Listing, ObjectInfo, SyncOutcome, revision
from slipway_sync.stores import LocalStore
from small_exports import write


class TaggedStore(LocalStore):
    """A local store whose tags are MD5s of the content, as those of S3 are; it notes what is read."""

    def __init__(self, root: Path, *, hashes: bool = False, tags: bool = True) -> None:
        super().__init__(root)
        self._root_path = root
        self._hashes = hashes
        self._tags = tags
        self.streamed: list[str] = []

    @override
    async def listing(self, directory: str) -> Listing:
        return tuple(self._tagged(directory, item) for item in await super().listing(directory))

    @override
    async def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        self.streamed.append(item.path)
        yield await self.read(directory, item.path, start=start, length=length)

    def _tagged(self, directory: str, item: ObjectInfo) -> ObjectInfo:
        content = (self._root_path / directory / item.path).read_bytes()
        return replace(
            item,
            etag=hashlib.md5(content).hexdigest() if self._tags else item.etag,  # noqa: S324
            sha256=hashlib.sha256(content).hexdigest() if self._hashes else "",
        )


@dataclass
class KeptVolume:
    """The source's and the volume's directories, and all that syncs said."""

    home: Path
    kept: bool = True
    origin: str = "store"
    said: list[tuple[str, str]] = field(default_factory=list)
    reports: list[dict[str, int]] = field(default_factory=list)
    now: float = 1_700_000_000.0
    ticks: float = 0.0
    place: Path = field(init=False)
    """The file system that holds the volume: a test may put another one in its place."""
    store: TaggedStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = TaggedStore(self.source)
        self.place = self.home / "disk"
        self.place.mkdir(parents=True, exist_ok=True)

    @property
    def source(self) -> Path:
        return self.home / "source"

    @property
    def volume(self) -> Path:
        return self.place / "volume"

    def upload(self, version: int, files: dict[str, bytes]) -> None:
        write(self.source / str(version), files)

    def revision(self, version: int) -> str:
        return revision(asyncio.run(self.store.listing(str(version))))

    def name(self, version: int) -> str:
        return f"{version}-{self.revision(version)[:12]}" if self.kept else str(version)

    def directory(self, version: int) -> Path:
        return self.volume / self.name(version)

    def request(self, version: int, **changes: Any) -> FetchRequest:
        made = FetchRequest(
            directory=str(version),
            version=version,
            revision=self.revision(version),
            destination=self.volume,
            concurrency=1,
            kept=self.kept,
            origin=self.origin,
        )
        return replace(made, **changes)

    def runtime(self, operations: FileSystem | None = None) -> Runtime:
        return Runtime(
            self.reports.append,
            self.clock,
            RetryPolicy(self.sleep, lambda: 0.5),
            log=lambda event, sentence: self.said.append((event, sentence)),
            now=lambda: self.now,
            operations=operations or FileSystem(),
        )

    def sync(
        self, version: int, operations: FileSystem | None = None, **changes: Any
    ) -> SyncOutcome:
        """Sync a version; `store.streamed` holds afterwards what this run asked the store for."""
        self.store.streamed.clear()
        request = self.request(version, **changes)
        return asyncio.run(fetch(request, self.store, self.runtime(operations)))

    def clock(self) -> float:
        self.ticks += 0.01
        return self.ticks

    async def sleep(self, seconds: float) -> None:
        self.ticks += seconds
        await asyncio.sleep(0)

    def events(self) -> Sequence[str]:
        return [event for event, _ in self.said]
