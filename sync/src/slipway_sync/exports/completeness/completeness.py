"""Proves from an export's own files that it is complete, and whose it is.

`reads` says which files have to be read for that, `examine` judges. The checks are an ordered
chain, from the cheap and general to the particular; the first finding wins and its sentence names
the file. What an upload may still bring is looked for before it is asked who signed what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from slipway_sync.exports.completeness import checks, provenance
from slipway_sync.exports.completeness.context import (
    INDEX_LIMIT,
    READ_LIMIT,
    TEXT_READ_LIMIT,
    CheckContext,
)
from slipway_sync.exports.completeness.listing_summary import ListingSummary, Watchlist, summarized
from slipway_sync.exports.completeness.result import Proof, ProofReason, Verdict
from slipway_sync.exports.graph.graph_fields import GraphError
from slipway_sync.exports.listing import Listing
from slipway_sync.exports.manifest import ManifestError
from slipway_sync.exports.requirements import Requirements
from slipway_sync.exports.tensorbundle.index import BundleError

__all__ = [
    "CHECKS",
    "INDEX_LIMIT",
    "READ_LIMIT",
    "STRUCTURE",
    "TEXT_READ_LIMIT",
    "Proof",
    "Verdict",
    "examine",
    "precheck",
    "reads",
    "watchlist",
]

Check = Callable[[CheckContext], Proof | None]

STRUCTURE: tuple[Check, ...] = (
    checks.not_empty,
    checks.not_too_many,
    checks.no_hostile_key,
    checks.marker_is_there,
    checks.graph_is_there,
    checks.graph_is_readable,
    checks.tags_are_there,
    checks.variables_are_there,
    checks.v1_shards_are_there,
    checks.index_is_readable,
    checks.shards_are_there,
    checks.assets_are_there,
    checks.no_python_is_called,
    checks.captured_variables_have_values,
)
"""What an export has to hold, in the order in which the findings matter."""

CHECKS: tuple[Check, ...] = (
    *STRUCTURE,
    provenance.manifest_is_readable,
    provenance.named_files_are_there,
    provenance.manifest_is_signed,
    provenance.all_files_are_named,
)
"""The whole chain."""

_DEFAULT = Requirements()


def reads(
    found: ListingSummary | Listing,
    requirements: Requirements = _DEFAULT,
    *,
    limit: int = READ_LIMIT,
) -> tuple[str, ...]:
    """Return the paths whose content `examine` needs.

    Args:
        found: The version's directory.
        requirements: What is asked of the export.
        limit: Largest graph in bytes; text graphs and other files have smaller limits of their own.
    """
    return CheckContext(_summary(found), {}, requirements, limit).wanted


def precheck(summary: ListingSummary, requirements: Requirements) -> Proof | None:
    """Return what the listing alone says against an export, or None."""
    return _judge(CheckContext(summary, {}, requirements, READ_LIMIT), STRUCTURE)


def watchlist(
    summary: ListingSummary,
    contents: Mapping[str, bytes | memoryview],
    requirements: Requirements,
    *,
    limit: int = READ_LIMIT,
) -> Watchlist:
    """Return what has to be looked for in a listing that is not held whole.

    What cannot be read asks for nothing: `examine` says so.
    """
    context = CheckContext(summary, contents, requirements, limit)
    paths: set[str] = {requirements.marker} - {""}
    named = None
    try:
        paths |= set(context.asset_paths)
        paths |= context.bundle.least_sizes().keys() if context.bundle is not None else set()
        named = frozenset(context.manifest.sha256) if context.manifest is not None else None
    except (GraphError, BundleError, ManifestError):
        named = None
    return Watchlist(frozenset(paths), named)


def examine(
    found: ListingSummary | Listing,
    contents: Mapping[str, bytes | memoryview],
    requirements: Requirements = _DEFAULT,
    *,
    limit: int = READ_LIMIT,
) -> Proof:
    """Judge an export by its listing and the content of some of its files.

    Args:
        found: The version's directory.
        contents: The files that `reads` named with the same limit; larger ones are taken on trust.
        requirements: What is asked of the export.
        limit: As given to `reads`.
    """
    finding = _judge(CheckContext(_summary(found), contents, requirements, limit), CHECKS)
    return finding or Proof(Verdict.COMPLETE, ProofReason.COMPLETE, "the export is complete", "")


def _judge(context: CheckContext, chain: tuple[Check, ...]) -> Proof | None:
    for check in chain:
        finding = check(context)
        if finding is not None:
            return finding
    return None


def _summary(found: ListingSummary | Listing) -> ListingSummary:
    return found if isinstance(found, ListingSummary) else summarized(found)
