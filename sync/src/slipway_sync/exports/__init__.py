"""What an export is: versions, listings, revisions, proofs, digests. Pure: no I/O and no clock."""

from slipway_sync.exports.completeness.checks import unreadable_graph
from slipway_sync.exports.completeness.completeness import (
    READ_LIMIT,
    examine,
    glimpse,
    interest,
    reads,
)
from slipway_sync.exports.completeness.listing_summary import (
    MOST,
    Glance,
    Interest,
    Survey,
    Surveyor,
    in_slices,
    surveyed,
    surveyed_sizes,
)
from slipway_sync.exports.completeness.provenance import altered, wrong_digest
from slipway_sync.exports.completeness.result import Proof, Verdict
from slipway_sync.exports.digest import digest
from slipway_sync.exports.graph.graph import GRAPHS, Graph, read_graph, skeleton_of
from slipway_sync.exports.graph.graph_fields import GraphError
from slipway_sync.exports.listing import Listing, ObjectInfo, hostile_key, printable, revision
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
    "Interest",
    "Listing",
    "Manifest",
    "ManifestError",
    "ObjectInfo",
    "Proof",
    "PublicKeyError",
    "Requirements",
    "ShardChecker",
    "Survey",
    "Surveyor",
    "SyncOutcome",
    "TensorEntry",
    "Verdict",
    "VersionDirectory",
    "altered",
    "digest",
    "examine",
    "glimpse",
    "hostile_key",
    "in_slices",
    "interest",
    "part_of",
    "printable",
    "read_bundle",
    "read_graph",
    "read_manifest",
    "read_public_keys",
    "reads",
    "revision",
    "size",
    "skeleton_of",
    "surveyed",
    "surveyed_sizes",
    "unreadable_graph",
    "version_directories",
    "wrong_digest",
]
