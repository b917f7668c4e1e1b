"""What an export is: versions, listings, revisions, proofs, digests. Pure: no I/O and no clock."""

from slipway_sync.exports.bundle import Bundle, BundleError, TensorEntry, read_bundle
from slipway_sync.exports.checksums import ChecksumError, ShardChecker
from slipway_sync.exports.digest import digest
from slipway_sync.exports.figures import part_of, size
from slipway_sync.exports.graph import GRAPHS, Graph, GraphError, read_graph
from slipway_sync.exports.listing import Listing, ObjectInfo, hostile_key, printable, revision
from slipway_sync.exports.outcome import PASSING, ExitCode, SyncOutcome
from slipway_sync.exports.proof import READ_LIMIT, Proof, Verdict, examine, reads
from slipway_sync.exports.versions import VersionDirectory, version_directories

__all__ = [
    "GRAPHS",
    "PASSING",
    "READ_LIMIT",
    "Bundle",
    "BundleError",
    "ChecksumError",
    "ExitCode",
    "Graph",
    "GraphError",
    "Listing",
    "ObjectInfo",
    "Proof",
    "ShardChecker",
    "SyncOutcome",
    "TensorEntry",
    "Verdict",
    "VersionDirectory",
    "digest",
    "examine",
    "hostile_key",
    "part_of",
    "printable",
    "read_bundle",
    "read_graph",
    "reads",
    "revision",
    "size",
    "version_directories",
]
