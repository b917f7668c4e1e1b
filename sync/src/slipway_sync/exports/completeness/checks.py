"""The checks of an export's own structure: graph, tags, variables, assets."""

from __future__ import annotations

from slipway_sync.exports.completeness.context import INDEX_LIMIT, Evidence
from slipway_sync.exports.completeness.listing_summary import MOST, SHARDS_HELD
from slipway_sync.exports.completeness.result import Proof, incomplete, rejected
from slipway_sync.exports.graph.graph import GRAPHS, SESSION_BUNDLE
from slipway_sync.exports.graph.graph_fields import GraphError
from slipway_sync.exports.listing import printable
from slipway_sync.exports.tensorbundle.index import BundleError

_MOST_TAG_SETS = 8


def not_empty(evidence: Evidence) -> Proof | None:
    """Anything at all is there."""
    if evidence.sizes or evidence.survey.count:
        return None
    return incomplete("Empty", "the version's directory contains no objects yet")


def not_too_many(evidence: Evidence) -> Proof | None:
    """The listing was looked at to its end."""
    if not evidence.survey.too_many:
        return None
    return rejected(
        "TooManyObjects",
        f"the version's directory contains more than {MOST} objects: remove what is not part of the "
        "export",
        "",
    )


def no_hostile_key(evidence: Evidence) -> Proof | None:
    """No key would leave the version's directory or clash with another one."""
    if evidence.survey.hostile is None:
        return None
    path, wrong = evidence.survey.hostile
    return rejected(
        "HostileKey",
        f"the key {printable(path)} {wrong}, so nothing of this version is downloaded: remove it",
        path,
    )


def marker_is_there(evidence: Evidence) -> Proof | None:
    """The completion marker that the Model asks for is there."""
    marker = evidence.requirements.marker
    if not marker or marker in evidence.sizes:
        return None
    return incomplete(
        "MissingMarker", f"{marker} is missing: the Model's completionMarker requires it", marker
    )


def graph_is_there(evidence: Evidence) -> Proof | None:
    """There is a graph file, and it is not empty."""
    if not evidence.graph_path:
        return incomplete(
            "MissingGraph",
            "saved_model.pb is missing, and so are saved_model.pbtxt and export.meta",
            GRAPHS[0],
        )
    if evidence.sizes[evidence.graph_path] == 0:
        return incomplete("UnreadableGraph", f"{evidence.graph_path} is empty", evidence.graph_path)
    return None


def graph_is_readable(evidence: Evidence) -> Proof | None:
    """The graph parses."""
    try:
        _ = evidence.graph
    except GraphError as error:
        return unreadable_graph(evidence.graph_path, error)
    return None


def unreadable_graph(path: str, error: GraphError) -> Proof:
    """Return the finding that a graph does not parse."""
    return rejected("UnreadableGraph", f"{path} is not readable: {error}", path)


def tags_are_there(evidence: Evidence) -> Proof | None:
    """One graph has exactly the tags that are to be loaded, as TensorFlow's loader wants it."""
    if evidence.graph is None or evidence.graph_path == SESSION_BUNDLE:
        return None
    if frozenset(evidence.requirements.tags) in evidence.graph.tags:
        return None
    path = evidence.graph_path
    wanted = evidence.requirements.tags
    what = f"the tags {', '.join(wanted)}" if wanted else "no tags"
    return rejected(
        "MissingTags",
        f"{path} has no graph with {what}: it has {_tag_sets(evidence.graph.tags)}",
        path,
    )


def _tag_sets(found: tuple[frozenset[str], ...]) -> str:
    """Name tag sets.

    >>> _tag_sets((frozenset({"train"}), frozenset({"serve", "gpu"}), frozenset()))
    '[train], [gpu, serve] and []'
    """
    names = [printable(f"[{', '.join(sorted(tags))}]") for tags in dict.fromkeys(found)]
    if len(names) > _MOST_TAG_SETS:
        left = len(names) - _MOST_TAG_SETS
        names = [*names[:_MOST_TAG_SETS], f"{left} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def variables_are_there(evidence: Evidence) -> Proof | None:
    """The index of the variables is there when the graph, or a shard, says that there are any."""
    index = evidence.index_path
    if index in evidence.sizes:
        if evidence.sizes[index] == 0:
            return incomplete("UnreadableIndex", f"{index} is empty", index)
        return None
    if evidence.graph_path == SESSION_BUNDLE and _has_v1_variables(evidence):
        return None
    data = f"{evidence.prefix}.data-"
    shard = next((path for path in evidence.sizes if path.startswith(data)), "")
    if shard:
        return incomplete(
            "MissingVariables", f"{index} is missing: {printable(shard)} is a shard of it", index
        )
    if evidence.graph is not None and evidence.graph.has_saver:
        others = ""
        if evidence.graph_path == SESSION_BUNDLE:
            others = ", and so are export and export-?????-of-?????"
        return incomplete(
            "MissingVariables",
            f"{index} is missing{others}: {evidence.graph_path} has variables to restore",
            index,
        )
    return None


def v1_shards_are_there(evidence: Evidence) -> Proof | None:
    """A SessionBundle's sharded variables of the old format are all there."""
    if evidence.graph_path != SESSION_BUNDLE or evidence.index_path in evidence.sizes:
        return None
    if not evidence.survey.whole and len(evidence.v1_shards) >= SHARDS_HELD:
        return None  # Others may have gone by; the agent sees all.
    for count in sorted({int(match[2]) for match in evidence.v1_shards}):
        for number in range(count):
            path = f"export-{number:05d}-of-{count:05d}"
            if path not in evidence.sizes:
                return incomplete(
                    "MissingShard",
                    f"{path} is missing: the other files' names say {_shards(count)}",
                    path,
                )
    return None


def index_is_readable(evidence: Evidence) -> Proof | None:
    """The index is a tensor bundle's table with right checksums."""
    index = evidence.index_path
    if evidence.sizes.get(index, 0) > INDEX_LIMIT:
        return rejected("UnreadableIndex", f"{index} is larger than {INDEX_LIMIT >> 20} MiB", index)
    try:
        _ = evidence.bundle
    except BundleError as error:
        return rejected("UnreadableIndex", f"{index} is not readable: {error}", index)
    return None


def shards_are_there(evidence: Evidence) -> Proof | None:
    """Every shard that the index names is there, as long as its tensors need."""
    if evidence.bundle is None:
        return None
    for path, least in evidence.bundle.least_sizes().items():
        if path not in evidence.sizes:
            return incomplete(
                "MissingShard",
                f"{path} is missing: {evidence.index_path} names {_shards(evidence.bundle.shards)}",
                path,
            )
        if evidence.sizes[path] < least:
            return incomplete(
                "ShardTooShort",
                f"{path} has {evidence.sizes[path]} bytes, {evidence.index_path} needs at least "
                f"{least}",
                path,
            )
    return None


def assets_are_there(evidence: Evidence) -> Proof | None:
    """Every asset that the graph names is there."""
    if evidence.graph is None:
        return None
    for path in evidence.asset_paths:
        if path not in evidence.sizes:
            return incomplete(
                "MissingAsset",
                f"{printable(path)} is missing: {evidence.graph_path} names it",
                path,
            )
    return None


def _has_v1_variables(evidence: Evidence) -> bool:
    return "export" in evidence.sizes or bool(evidence.v1_shards)


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"
