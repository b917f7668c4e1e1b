"""Stores that list as they are told to, and count what they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from slipway_sync.exports import Listing, ObjectInfo
from slipway_sync.stores import SourceError
from slipway_sync.stores.base import HostileKeyError, Pages

WHEN = datetime(2024, 1, 1, tzinfo=UTC)


def item(path: str, size: int = 1, etag: str = "") -> ObjectInfo:
    return ObjectInfo(path, size, etag or f"{hash(path) & 0xFFFFFFFF:032x}", WHEN)


@dataclass
class PagedStore:
    """Objects of version directories, in the order in which they were put there.

    Names that end in `/` are the markers of folders; they are listed without it, as libraries do.
    """

    objects: dict[str, Iterable[ObjectInfo]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    page: int = 1000
    hostile: str = ""
    asked: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, files: dict[str, bytes], directory: str = "1") -> PagedStore:
        listed = [
            item(path, len(content), f"{len(content)}-{hash(content) & 0xFFFFFFFF:x}")
            for path, content in files.items()
        ]
        return cls({directory: listed}, {f"{directory}/{p}": c for p, c in files.items()})

    async def children(self) -> tuple[str, ...]:
        self.asked.append("CHILDREN")
        return tuple(sorted(self.objects))

    async def listing(self, directory: str) -> Listing:  # noqa: ARG002
        raise AssertionError("nobody who polls holds a whole listing")

    async def pages(self, directory: str) -> Pages:
        self.asked.append(f"LIST {directory}")
        if self.hostile:
            raise HostileKeyError(self.hostile)
        page: list[ObjectInfo] = []
        for found in self.objects.get(directory, ()):
            page.append(replace(found, path=found.path.rstrip("/")))
            if len(page) == self.page:
                yield page
                page = []
        yield page

    async def folders(self, directory: str, empty: Sequence[str]) -> frozenset[str]:
        self.asked += [f"HEAD {directory}/{path}" for path in empty]
        files = {found.path for found in self.objects[directory]}
        return frozenset(path for path in empty if path not in files)

    async def read(
        self, directory: str, path: str, *, start: int = 0, length: int | None = None
    ) -> bytes:
        self.asked.append(f"GET {directory}/{path}")
        try:
            content = self.contents[f"{directory}/{path}"]
        except KeyError as error:
            raise SourceError("NotFound", f"{path}: not found") from error
        return content[start:] if length is None else content[start : start + length]
