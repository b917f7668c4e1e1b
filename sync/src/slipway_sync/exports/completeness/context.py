"""One export as the checks of a proof see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from slipway_sync.exports.completeness.listing_summary import ListingSummary
from slipway_sync.exports.graph.graph import (
    GRAPHS,
    SAVED_MODEL_TEXT,
    SESSION_BUNDLE,
    Graph,
    read_graph,
)
from slipway_sync.exports.manifest import (
    MANIFEST,
    MANIFEST_LIMIT,
    SIGNATURE,
    Manifest,
    read_manifest,
)
from slipway_sync.exports.requirements import Requirements
from slipway_sync.exports.signature import SIGNATURE_LIMIT
from slipway_sync.exports.tensorbundle.index import Bundle, read_bundle

READ_LIMIT = 64 << 20
"""Bytes of one file that may be read for a proof before the export is on a volume."""
TEXT_READ_LIMIT = 4 << 20
"""The same for a text graph, which is parsed some hundred times slower."""
INDEX_LIMIT = 16 << 20
"""Largest index in bytes, some 150 000 tensors; a larger one is no export of a model."""

_V1_SHARD = re.compile(r"export-([0-9]{5})-of-([0-9]{5})", re.ASCII)


class CheckContext:
    """What is known of one export; files are parsed once, when a check first asks."""

    def __init__(
        self,
        summary: ListingSummary,
        contents: Mapping[str, bytes | memoryview],
        requirements: Requirements,
        limit: int,
    ) -> None:
        """Judge by what lies there and what was read of it.

        Args:
            summary: The version's directory.
            contents: The files that `wanted` named; larger ones are taken on trust.
            requirements: What is asked of the export.
            limit: Largest file in bytes that is read.
        """
        self.summary = summary
        self.sizes = summary.sizes
        self.contents = contents
        self.requirements = requirements
        self.limit = limit

    @property
    def wanted(self) -> tuple[str, ...]:
        """The files whose content matters, none of them longer than what is read."""
        paths = [self.graph_path, self.index_path, MANIFEST]
        if self.requirements.public_keys:
            paths.append(SIGNATURE)
        return tuple(
            path for path in paths if 0 < self.sizes.get(path, 0) <= limit_for(path, self.limit)
        )

    @cached_property
    def graph_path(self) -> str:
        """The graph file that counts, or ""."""
        return next((path for path in GRAPHS if path in self.sizes), "")

    @cached_property
    def graph(self) -> Graph | None:
        """What the graph says; None when it is not there or too large to read now."""
        if self.graph_path not in self.contents:
            return None
        tags = frozenset(self.requirements.tags)
        return read_graph(self.graph_path, self.contents[self.graph_path], tags=tags)

    @property
    def asset_paths(self) -> tuple[str, ...]:
        """The files that the graph reads beside its variables."""
        return tuple(f"assets/{name}" for name in self.graph.assets) if self.graph else ()

    @cached_property
    def prefix(self) -> str:
        """What the names of the files with variables begin with."""
        return "export" if self.graph_path == SESSION_BUNDLE else "variables/variables"

    @cached_property
    def index_path(self) -> str:
        """The index of the variables, whether it is there or not."""
        return f"{self.prefix}.index"

    @cached_property
    def bundle(self) -> Bundle | None:
        """What the index says; None when it is not there or not read."""
        if self.index_path not in self.contents:
            return None
        return read_bundle(bytes(self.contents[self.index_path]), self.prefix)

    @cached_property
    def manifest(self) -> Manifest | None:
        """What the manifest says; None when it is not there or not read."""
        if MANIFEST not in self.contents:
            return None
        return read_manifest(bytes(self.contents[MANIFEST]))

    @cached_property
    def v1_shards(self) -> tuple[re.Match[str], ...]:
        """Files whose names are those of sharded variables in the oldest format."""
        return tuple(match for match in map(_V1_SHARD.fullmatch, self.sizes) if match)


def limit_for(path: str, limit: int) -> int:
    """Return the largest size in bytes at which a file is read where graphs are up to `limit`."""
    if path == SAVED_MODEL_TEXT:
        return min(limit, TEXT_READ_LIMIT if limit <= READ_LIMIT else READ_LIMIT)
    if path == MANIFEST:
        return MANIFEST_LIMIT
    if path == SIGNATURE:
        return SIGNATURE_LIMIT
    return limit if path in GRAPHS else min(limit, INDEX_LIMIT)
