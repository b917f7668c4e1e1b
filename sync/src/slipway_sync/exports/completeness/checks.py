"""The checks of an export's own structure: graph, tags, variables, assets."""

from __future__ import annotations

from slipway_sync.exports.completeness.context import INDEX_LIMIT, CheckContext
from slipway_sync.exports.completeness.listing_summary import MOST, SHARDS_HELD
from slipway_sync.exports.completeness.result import Proof, ProofReason, incomplete, rejected
from slipway_sync.exports.graph.graph import GRAPHS, SESSION_BUNDLE
from slipway_sync.exports.graph.graph_fields import GraphError
from slipway_sync.exports.listing import printable
from slipway_sync.exports.tensorbundle.index import BundleError

_MOST_TAG_SETS = 8


def not_empty(context: CheckContext) -> Proof | None:
    """Anything at all is there."""
    if context.sizes or context.summary.count:
        return None
    return incomplete(ProofReason.EMPTY, "the version's directory contains no objects yet")


def not_too_many(context: CheckContext) -> Proof | None:
    """The listing was looked at to its end."""
    if not context.summary.too_many:
        return None
    return rejected(
        ProofReason.TOO_MANY_OBJECTS,
        f"the version's directory contains more than {MOST} objects: remove what is not part of the "
        "export",
        "",
    )


def no_hostile_key(context: CheckContext) -> Proof | None:
    """No key would leave the version's directory or clash with another one."""
    if context.summary.hostile is None:
        return None
    path, wrong = context.summary.hostile
    return rejected(
        ProofReason.HOSTILE_KEY,
        f"the key {printable(path)} {wrong}, so nothing of this version is downloaded: remove it",
        path,
    )


def marker_is_there(context: CheckContext) -> Proof | None:
    """The completion marker that the Model asks for is there."""
    marker = context.requirements.marker
    if not marker or marker in context.sizes:
        return None
    return incomplete(
        ProofReason.MISSING_MARKER,
        f"{marker} is missing: the Model's completionMarker requires it",
        marker,
    )


def graph_is_there(context: CheckContext) -> Proof | None:
    """There is a graph file, and it is not empty."""
    if not context.graph_path:
        return incomplete(
            ProofReason.MISSING_GRAPH,
            "saved_model.pb is missing, and so are saved_model.pbtxt and export.meta",
            GRAPHS[0],
        )
    if context.sizes[context.graph_path] == 0:
        return incomplete(
            ProofReason.UNREADABLE_GRAPH, f"{context.graph_path} is empty", context.graph_path
        )
    return None


def graph_is_readable(context: CheckContext) -> Proof | None:
    """The graph parses."""
    try:
        _ = context.graph
    except GraphError as error:
        return unreadable_graph(context.graph_path, error)
    return None


def unreadable_graph(path: str, error: GraphError) -> Proof:
    """Return the finding that a graph does not parse."""
    return rejected(ProofReason.UNREADABLE_GRAPH, f"{path} is not readable: {error}", path)


def tags_are_there(context: CheckContext) -> Proof | None:
    """One graph has exactly the tags that are to be loaded, as TensorFlow's loader wants it."""
    if context.graph is None or context.graph_path == SESSION_BUNDLE:
        return None
    if frozenset(context.requirements.tags) in context.graph.tags:
        return None
    path = context.graph_path
    wanted = context.requirements.tags
    what = f"the tags {', '.join(wanted)}" if wanted else "no tags"
    return rejected(
        ProofReason.MISSING_TAGS,
        f"{path} has no graph with {what}: it has {_tag_sets(context.graph.tags)}",
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


def variables_are_there(context: CheckContext) -> Proof | None:
    """The index of the variables is there when the graph, or a shard, says that there are any."""
    index = context.index_path
    if index in context.sizes:
        if context.sizes[index] == 0:
            return incomplete(ProofReason.UNREADABLE_INDEX, f"{index} is empty", index)
        return None
    if context.graph_path == SESSION_BUNDLE and _has_v1_variables(context):
        return None
    data = f"{context.prefix}.data-"
    shard = next((path for path in context.sizes if path.startswith(data)), "")
    if shard:
        return incomplete(
            ProofReason.MISSING_VARIABLES,
            f"{index} is missing: {printable(shard)} is a shard of it",
            index,
        )
    if context.graph is not None and context.graph.has_saver:
        others = ""
        if context.graph_path == SESSION_BUNDLE:
            others = ", and so are export and export-?????-of-?????"
        return incomplete(
            ProofReason.MISSING_VARIABLES,
            f"{index} is missing{others}: {context.graph_path} has variables to restore",
            index,
        )
    return None


def v1_shards_are_there(context: CheckContext) -> Proof | None:
    """A SessionBundle's sharded variables of the old format are all there."""
    if context.graph_path != SESSION_BUNDLE or context.index_path in context.sizes:
        return None
    if not context.summary.whole and len(context.v1_shards) >= SHARDS_HELD:
        return None  # Others may have gone by; the agent sees all.
    for count in sorted({int(match[2]) for match in context.v1_shards}):
        for number in range(count):
            path = f"export-{number:05d}-of-{count:05d}"
            if path not in context.sizes:
                return incomplete(
                    ProofReason.MISSING_SHARD,
                    f"{path} is missing: the other files' names say {_shards(count)}",
                    path,
                )
    return None


def index_is_readable(context: CheckContext) -> Proof | None:
    """The index is a tensor bundle's table with right checksums."""
    index = context.index_path
    if context.sizes.get(index, 0) > INDEX_LIMIT:
        return rejected(
            ProofReason.UNREADABLE_INDEX, f"{index} is larger than {INDEX_LIMIT >> 20} MiB", index
        )
    try:
        _ = context.bundle
    except BundleError as error:
        return rejected(ProofReason.UNREADABLE_INDEX, f"{index} is not readable: {error}", index)
    return None


def shards_are_there(context: CheckContext) -> Proof | None:
    """Every shard that the index names is there, as long as its tensors need."""
    if context.bundle is None:
        return None
    for path, least in context.bundle.least_sizes().items():
        if path not in context.sizes:
            return incomplete(
                ProofReason.MISSING_SHARD,
                f"{path} is missing: {context.index_path} names {_shards(context.bundle.shards)}",
                path,
            )
        if context.sizes[path] < least:
            return incomplete(
                ProofReason.SHARD_TOO_SHORT,
                f"{path} has {context.sizes[path]} bytes, {context.index_path} needs at least "
                f"{least}",
                path,
            )
    return None


def assets_are_there(context: CheckContext) -> Proof | None:
    """Every asset that the graph names is there."""
    if context.graph is None:
        return None
    for path in context.asset_paths:
        if path not in context.sizes:
            return incomplete(
                ProofReason.MISSING_ASSET,
                f"{printable(path)} is missing: {context.graph_path} names it",
                path,
            )
    return None


def no_python_is_called(context: CheckContext) -> Proof | None:
    """No signature runs Python code, which only the process has that made the export."""
    graph = context.graph
    tags = frozenset(context.requirements.tags)
    call = graph.python_operations.get(tags) if graph is not None else None
    if call is None:
        return None
    function = f" of function {call.function}" if call.function else ""
    who = f"signature {call.signature}" if call.signature else "the initialisation"
    return rejected(
        ProofReason.UNSUPPORTED_OPERATION,
        printable(
            f"{context.graph_path} has the operation {call.name}, node {call.node}{function}, which {who} runs"
        )
        + ": it calls Python code that a server does not have; express tf.numpy_function, tf.py_function or "
        "Dataset.from_generator with TensorFlow's operations, and export again",
        context.graph_path,
    )


def captured_variables_have_values(context: CheckContext) -> Proof | None:
    """The index has a value of every variable that a signature reads."""
    if context.graph is None or context.bundle is None:
        return None
    objects = context.graph.objects.get(frozenset(context.requirements.tags))
    missing = objects.without_value(context.bundle.keys) if objects is not None else None
    if missing is None:
        return None
    return rejected(
        ProofReason.MISSING_TENSOR,
        printable(
            f"{context.index_path} has no value of the variable {missing.name}, which signature "
            f"{missing.signature} reads"
        )
        + ": the files are of different exports, or the variable was never initialised; export again",
        context.index_path,
    )


def _has_v1_variables(context: CheckContext) -> bool:
    return "export" in context.sizes or bool(context.v1_shards)


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"
