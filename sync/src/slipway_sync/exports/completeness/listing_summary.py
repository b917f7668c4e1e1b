"""What a proof needs to know of a version's directory, gathered while its listing streams by.

A listing may be long; what is held of it is not. Short ones are held whole. Of long ones only the
names that the layout of an export fixes are held; what the graph, the index and the manifest ask
for beside those is looked for when the listing is streamed once more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from slipway_sync.exports.graph.graph import GRAPHS
from slipway_sync.exports.listing import (
    KeyJudge,
    Listing,
    ObjectInfo,
    Revision,
    hostile_key,
    revision,
)
from slipway_sync.exports.manifest import MANIFEST, SIGNATURE

HELD = 5_000
"""Objects of a listing that are held whole."""
SHARDS_HELD = 1_000
"""Files named like shards that are held of a longer one; an index says which of them matter."""
MOST = 200_000
"""Objects of one version; an export has some dozens."""

_NAMED = frozenset(
    {*GRAPHS, MANIFEST, SIGNATURE, "variables/variables.index", "export.index", "export"}
)
_SHARD = re.compile(
    r"(?:variables/variables|export)\.data-[0-9]{5}-of-[0-9]{5}|export-[0-9]{5}-of-[0-9]{5}",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Watchlist:
    """What is looked for in a listing, whatever its length.

    Attributes:
        paths: Whose sizes are wanted beside those that the layout fixes.
        named: What the manifest names; None when that does not matter.
    """

    paths: frozenset[str] = frozenset()
    named: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ListingSummary:
    """What is known of a version's directory.

    Attributes:
        revision: 64 hex digits that identify the listing (see `revision`).
        bytes: Size of all objects together.
        count: How many objects there are.
        sizes: Bytes of objects by path: of all of them, or of those that matter.
        whole: Whether `sizes` holds all of them.
        hostile: A path that must not become a file and what is wrong with it, or None.
        too_many: Whether the listing was given up because of its length.
        missing: Of a listing that is not whole: a path that the manifest names and that is not
            there, or "".
        unnamed: Likewise a path that is there and that the manifest does not name, or "".
        fingerprint: Of the store's own answer, see `Glance`; "" where there was none.
    """

    revision: str
    bytes: int
    count: int
    sizes: Mapping[str, int]
    whole: bool = True
    hostile: tuple[str, str] | None = None
    too_many: bool = False
    missing: str = ""
    unnamed: str = ""
    fingerprint: str = ""


class OutOfOrderError(ValueError):
    """A path came after one that sorts behind it."""


class ListingSummarizer:
    """Is given the objects of a listing in the order of their paths."""

    def __init__(self, watchlist: Watchlist | None = None) -> None:
        """Look for what is of interest."""
        self._watchlist = watchlist or Watchlist()
        self._unseen = set(self._watchlist.named or ())
        self._revision = Revision()
        self._keys = KeyJudge()
        self._bytes = 0
        self._count = 0
        self._last = ""
        self._sizes: dict[str, int] = {}
        self._whole = True
        self._shards = 0
        self._unnamed = ""

    @property
    def enough(self) -> bool:
        """Whether the listing is too long to be looked at any further."""
        return self._count > MOST

    def add(self, items: Sequence[ObjectInfo]) -> None:
        """Take the next objects.

        Raises:
            OutOfOrderError: They do not come in order; this surveyor is of no use any more.
        """
        for item in items:
            if item.path < self._last:
                raise OutOfOrderError(item.path)
            self._last = item.path
            self._keys.add(item.path)
            self._bytes += item.size
            self._note(item)
        self._count += len(items)
        self._revision.add(items)
        if self._whole and self._count > HELD:
            self._whole = False
            self._sizes = {path: size for path, size in self._sizes.items() if self._kept(path)}

    def summarize(self, fingerprint: str = "") -> ListingSummary:
        """Return what was found."""
        return ListingSummary(
            revision=self._revision.hexdigest(),
            bytes=self._bytes,
            count=self._count,
            sizes=self._sizes,
            whole=self._whole,
            hostile=self._keys.found(),
            too_many=self.enough,
            missing=min(self._unseen, default=""),
            unnamed=self._unnamed,
            fingerprint=fingerprint,
        )

    def _note(self, item: ObjectInfo) -> None:
        path = item.path
        if self._whole or self._kept(path):
            self._sizes[path] = item.size
        named = self._watchlist.named
        if named is None:
            return
        self._unseen.discard(path)
        if not self._unnamed and path not in named and path not in {MANIFEST, SIGNATURE}:
            self._unnamed = path

    def _kept(self, path: str) -> bool:
        if path in _NAMED or path in self._watchlist.paths:
            return True
        if self._shards < SHARDS_HELD and _SHARD.fullmatch(path):
            self._shards += 1
            return True
        return False


def summarized(listing: Listing) -> ListingSummary:
    """Survey a listing that is at hand; it is whole, whatever its length."""
    sizes = {item.path: item.size for item in listing}
    return replace(summarized_sizes(sizes), revision=revision(listing), count=len(listing))


def summarized_sizes(sizes: Mapping[str, int]) -> ListingSummary:
    """Survey files of which nothing but path and size (bytes) is known; there is no revision."""
    return ListingSummary(
        revision="",
        bytes=sum(sizes.values()),
        count=len(sizes),
        sizes=sizes,
        hostile=hostile_key(sizes),
    )


@dataclass(slots=True)
class Glance:
    """A first look at a store's answer, as it comes.

    The answer may hold empty objects that only mark a folder, which some requests would tell; its
    fingerprint says without them whether anything changed.
    """

    summarizer: ListingSummarizer
    few: list[ObjectInfo] | None = field(default_factory=list)
    """All objects in the store's order, as long as they are few."""
    ordered: bool = True
    hollow: bool = False
    """Whether some object is empty."""
    count: int = 0
    _hasher: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, items: Sequence[ObjectInfo]) -> None:
        """Take the next objects of the answer."""
        self.count += len(items)
        self._hasher.update(b"".join(map(_print_of, items)))
        self.hollow = self.hollow or any(item.size == 0 for item in items)
        if self.ordered:
            try:
                self.summarizer.add(items)
            except OutOfOrderError:
                self.ordered = False
        if self.few is not None:
            self.few += items
            if len(self.few) > HELD:
                self.few = None

    @property
    def enough(self) -> bool:
        """Whether the listing is too long to be looked at any further."""
        return self.count > MOST

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change whenever the store's answer does."""
        return self._hasher.hexdigest()


def _print_of(item: ObjectInfo) -> bytes:
    # When an empty object was written tells a file from the marker of a folder that replaced it.
    when = item.modified.timestamp() if item.size == 0 else 0
    text = f"{len(item.path)} {item.path} {item.size} {item.etag} {when}\n"
    return text.encode("utf-8", "surrogatepass")


_Item = TypeVar("_Item")


def in_slices(items: Sequence[_Item], length: int) -> Iterable[Sequence[_Item]]:
    """Cut a sequence into slices of a length."""
    return (items[start : start + length] for start in range(0, len(items), length))
