"""Proves from an export's own files that it is complete.

`reads` says which files have to be read for that, `examine` judges. The checks are an ordered
chain, from the cheap and general to the particular; the first finding wins and its sentence names
the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from slipway_sync.exports.bundle import Bundle, BundleError, read_bundle
from slipway_sync.exports.graph import (
    GRAPHS,
    SAVED_MODEL_TEXT,
    SESSION_BUNDLE,
    Graph,
    GraphError,
    read_graph,
)
from slipway_sync.exports.listing import Listing, hostile_key, printable

READ_LIMIT = 64 << 20
"""Bytes of one file that may be read for a proof before the export is on a volume."""
TEXT_READ_LIMIT = 4 << 20
"""The same for a text graph, which is parsed some hundred times slower."""
INDEX_LIMIT = 16 << 20
"""Largest index in bytes, some 150 000 tensors; a larger one is no export of a model."""

_V1_SHARD = re.compile(r"export-([0-9]{5})-of-([0-9]{5})", re.ASCII)


class Verdict(StrEnum):
    """What a proof comes to."""

    COMPLETE = "Complete"
    INCOMPLETE = "Incomplete"
    """Something is missing or short that an upload in progress could still bring."""
    REJECTED = "Rejected"
    """It cannot become right under this listing."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found.

    Attributes:
        verdict: Complete or not.
        reason: CamelCase: `Complete`, `Empty`, `HostileKey`, `MissingMarker`, `MissingGraph`,
            `UnreadableGraph`, `MissingVariables`, `UnreadableIndex`, `MissingShard`,
            `ShardTooShort`, `MissingAsset`.
        message: One sentence; names the file.
        object: The path of the file to blame, relative to the version's directory, or "".
    """

    verdict: Verdict
    reason: str
    message: str
    object: str


def reads(listing: Listing, *, limit: int = READ_LIMIT) -> tuple[str, ...]:
    """Return the paths whose content `examine` needs, none of them longer than `limit` bytes.

    Args:
        listing: The version's directory.
        limit: Largest file in bytes; text graphs and indexes have smaller limits of their own.
    """
    evidence = _Evidence(listing, {}, "", limit)
    return tuple(
        path
        for path in (evidence.graph_path, evidence.index_path)
        if path in evidence.sizes and evidence.sizes[path] <= _limit_for(path, limit)
    )


def examine(
    listing: Listing,
    contents: Mapping[str, bytes | memoryview],
    *,
    marker: str = "",
    limit: int = READ_LIMIT,
) -> Proof:
    """Judge an export.

    Args:
        listing: The version's directory.
        contents: The files that `reads` named with the same limit; larger ones are taken on trust.
        marker: Name of an object that must be there, or "".
        limit: As given to `reads`.
    """
    evidence = _Evidence(listing, contents, marker, limit)
    for check in CHECKS:
        finding = check(evidence)
        if finding is not None:
            return finding
    return Proof(Verdict.COMPLETE, "Complete", "the export is complete", "")


class _Evidence:
    """One export as the checks see it; files are parsed once, when a check first asks."""

    def __init__(
        self, listing: Listing, contents: Mapping[str, bytes | memoryview], marker: str, limit: int
    ) -> None:
        self.sizes = {item.path: item.size for item in listing}
        self.contents = contents
        self.marker = marker
        self.limit = limit

    @cached_property
    def graph_path(self) -> str:
        """The graph file that counts, or ""."""
        return next((path for path in GRAPHS if path in self.sizes), "")

    @cached_property
    def graph(self) -> Graph | None:
        """What the graph says; None when it is not there or too large to read now."""
        if self.graph_path not in self.contents:
            return None
        return read_graph(self.graph_path, self.contents[self.graph_path])

    @cached_property
    def prefix(self) -> str:
        """What the names of the files with variables begin with."""
        return "export" if self.graph_path == SESSION_BUNDLE else "variables/variables"

    @cached_property
    def index_path(self) -> str:
        return f"{self.prefix}.index"

    @cached_property
    def bundle(self) -> Bundle | None:
        if self.index_path not in self.contents:
            return None
        return read_bundle(bytes(self.contents[self.index_path]), self.prefix)


def _incomplete(reason: str, message: str, path: str = "") -> Proof:
    return Proof(Verdict.INCOMPLETE, reason, message, path)


def _rejected(reason: str, message: str, path: str) -> Proof:
    return Proof(Verdict.REJECTED, reason, message, path)


def not_empty(evidence: _Evidence) -> Proof | None:
    """Anything at all is there."""
    if evidence.sizes:
        return None
    return _incomplete("Empty", "the version's directory holds no object yet")


def no_hostile_key(evidence: _Evidence) -> Proof | None:
    """No key would leave the version's directory or clash with another one."""
    found = hostile_key(evidence.sizes)
    if found is None:
        return None
    path, wrong = found
    return _rejected(
        "HostileKey",
        f"the key {printable(path)} {wrong}, so nothing of this version is downloaded: remove it",
        path,
    )


def marker_is_there(evidence: _Evidence) -> Proof | None:
    """The completion marker that the Model asks for is there."""
    if not evidence.marker or evidence.marker in evidence.sizes:
        return None
    return _incomplete(
        "MissingMarker",
        f"{evidence.marker} is missing: the model's completionMarker asks for it",
        evidence.marker,
    )


def graph_is_there(evidence: _Evidence) -> Proof | None:
    """There is a graph file, and it is not empty."""
    if not evidence.graph_path:
        return _incomplete(
            "MissingGraph",
            "saved_model.pb is missing, and so are saved_model.pbtxt and export.meta",
            GRAPHS[0],
        )
    if evidence.sizes[evidence.graph_path] == 0:
        return _incomplete(
            "UnreadableGraph", f"{evidence.graph_path} is empty", evidence.graph_path
        )
    return None


def graph_is_readable(evidence: _Evidence) -> Proof | None:
    """The graph parses."""
    try:
        _ = evidence.graph
    except GraphError as error:
        return _rejected(
            "UnreadableGraph",
            f"{evidence.graph_path} is not readable: {error}",
            evidence.graph_path,
        )
    return None


def variables_are_there(evidence: _Evidence) -> Proof | None:
    """The index of the variables is there when the graph, or a shard, says that there are any."""
    index = evidence.index_path
    if index in evidence.sizes:
        if evidence.sizes[index] == 0:
            return _incomplete("UnreadableIndex", f"{index} is empty", index)
        return None
    if evidence.graph_path == SESSION_BUNDLE and _has_v1_variables(evidence):
        return None
    data = f"{evidence.prefix}.data-"
    shard = next((path for path in evidence.sizes if path.startswith(data)), "")
    if shard:
        return _incomplete(
            "MissingVariables", f"{index} is missing: {printable(shard)} is a shard of it", index
        )
    if evidence.graph is not None and evidence.graph.has_saver:
        return _incomplete(
            "MissingVariables",
            f"{index} is missing: {evidence.graph_path} has variables to restore",
            index,
        )
    return None


def v1_shards_are_there(evidence: _Evidence) -> Proof | None:
    """A SessionBundle's sharded variables of the old format are all there."""
    if evidence.graph_path != SESSION_BUNDLE or evidence.index_path in evidence.sizes:
        return None
    shards = {int(match[2]) for match in map(_V1_SHARD.fullmatch, evidence.sizes) if match}
    for count in sorted(shards):
        for number in range(count):
            path = f"export-{number:05d}-of-{count:05d}"
            if path not in evidence.sizes:
                return _incomplete(
                    "MissingShard",
                    f"{path} is missing: the other files' names say {_shards(count)}",
                    path,
                )
    return None


def index_is_readable(evidence: _Evidence) -> Proof | None:
    """The index is a tensor bundle's table with right checksums."""
    if evidence.sizes.get(evidence.index_path, 0) > INDEX_LIMIT:
        return _rejected(
            "UnreadableIndex",
            f"{evidence.index_path} is larger than {INDEX_LIMIT >> 20} MiB",
            evidence.index_path,
        )
    try:
        _ = evidence.bundle
    except BundleError as error:
        return _rejected(
            "UnreadableIndex",
            f"{evidence.index_path} is not readable: {error}",
            evidence.index_path,
        )
    return None


def shards_are_there(evidence: _Evidence) -> Proof | None:
    """Every shard that the index names is there, as long as its tensors need."""
    if evidence.bundle is None:
        return None
    for path, least in evidence.bundle.least_sizes().items():
        if path not in evidence.sizes:
            return _incomplete(
                "MissingShard",
                f"{path} is missing: {evidence.index_path} names {_shards(evidence.bundle.shards)}",
                path,
            )
        if evidence.sizes[path] < least:
            return _incomplete(
                "ShardTooShort",
                f"{path} has {evidence.sizes[path]} bytes, {evidence.index_path} needs at least "
                f"{least}",
                path,
            )
    return None


def assets_are_there(evidence: _Evidence) -> Proof | None:
    """Every asset that the graph names is there."""
    if evidence.graph is None:
        return None
    for name in evidence.graph.assets:
        path = f"assets/{name}"
        if path not in evidence.sizes:
            return _incomplete(
                "MissingAsset",
                f"{printable(path)} is missing: {evidence.graph_path} names it",
                path,
            )
    return None


CHECKS: tuple[Callable[[_Evidence], Proof | None], ...] = (
    not_empty,
    no_hostile_key,
    marker_is_there,
    graph_is_there,
    graph_is_readable,
    variables_are_there,
    v1_shards_are_there,
    index_is_readable,
    shards_are_there,
    assets_are_there,
)
"""The chain, in the order in which its findings matter."""


def _limit_for(path: str, limit: int) -> int:
    if path == SAVED_MODEL_TEXT:
        return min(limit, TEXT_READ_LIMIT if limit <= READ_LIMIT else READ_LIMIT)
    return limit if path in GRAPHS else min(limit, INDEX_LIMIT)


def _has_v1_variables(evidence: _Evidence) -> bool:
    return "export" in evidence.sizes or any(map(_V1_SHARD.fullmatch, evidence.sizes))


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"
