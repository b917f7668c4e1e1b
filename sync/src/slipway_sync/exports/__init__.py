"""What an export is: versions, listings, revisions, proofs, digests. Pure: no I/O and no clock."""

from slipway_sync.exports.completeness.checks import unreadable_graph
from slipway_sync.exports.completeness.completeness import (
    READ_LIMIT,
    examine,
    precheck,
    reads,
    watchlist,
)
from slipway_sync.exports.completeness.listing_summary import (
    MOST,
    Glance,
    ListingSummarizer,
    ListingSummary,
    Watchlist,
    in_slices,
    summarized,
    summarized_sizes,
)
from slipway_sync.exports.completeness.provenance import altered, wrong_digest
from slipway_sync.exports.completeness.result import Proof, ProofReason, Verdict
from slipway_sync.exports.graph.graph import GRAPHS, Graph, graph_fields_of, read_graph
from slipway_sync.exports.graph.graph_fields import GraphError, Steps
from slipway_sync.exports.listing import (
    Listing,
    ObjectInfo,
    digest,
    hostile_key,
    printable,
    revision,
)
from slipway_sync.exports.manifest import MANIFEST, Manifest, ManifestError, read_manifest
from slipway_sync.exports.protocol.humanize import part_of, size
from slipway_sync.exports.protocol.outcome import PASSING, ExitCode, SyncOutcome
from slipway_sync.exports.requirements import DEFAULT_TAGS, Requirements
from slipway_sync.exports.signature import PublicKeyError, read_public_keys
from slipway_sync.exports.tensorbundle.checksums import ChecksumError, ShardChecker
from slipway_sync.exports.tensorbundle.index import (
    INDEXES,
    Bundle,
    BundleError,
    TensorEntry,
    read_bundle,
)
from slipway_sync.exports.versions import VersionDirectory, version_directories

__all__ = [
    "DEFAULT_TAGS",
    "GRAPHS",
    "INDEXES",
    "MANIFEST",
    "MOST",
    "PASSING",
    "READ_LIMIT",
    "Bundle",
    "BundleError",
    "ChecksumError",
    "ExitCode",
    "Glance",
    "Graph",
    "GraphError",
    "Listing",
    "ListingSummarizer",
    "ListingSummary",
    "Manifest",
    "ManifestError",
    "ObjectInfo",
    "Proof",
    "ProofReason",
    "PublicKeyError",
    "Requirements",
    "ShardChecker",
    "Steps",
    "SyncOutcome",
    "TensorEntry",
    "Verdict",
    "VersionDirectory",
    "Watchlist",
    "altered",
    "digest",
    "examine",
    "graph_fields_of",
    "hostile_key",
    "in_slices",
    "part_of",
    "precheck",
    "printable",
    "read_bundle",
    "read_graph",
    "read_manifest",
    "read_public_keys",
    "reads",
    "revision",
    "size",
    "summarized",
    "summarized_sizes",
    "unreadable_graph",
    "version_directories",
    "watchlist",
    "wrong_digest",
]
