"""What one poll of a source leaves to the next: when each listing was first seen, and its proof.

Pure: the poller lists and reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.spec import VersionPolicy
from slipway_sync.exports import Proof, Requirements, Verdict, VersionDirectory

_DEFAULT: Final = Requirements()
_MOVED: Final = "Moved"
"""Reason of a proof that is void: the objects changed between the listing and the reads."""
REVISIT: Final = timedelta(minutes=5)
"""How long a rejection stands: a proxy or cache on the way may have caused it, and the listing would not show that."""


@dataclass(frozen=True, slots=True)
class SeenListing:
    """The last listing of a version directory.

    Attributes:
        fingerprint: Identifies the store's answer, so that an unchanged listing is recognised without
            reading it whole; empty when not known.
        bytes: Total size of the objects.
        since: When this revision was first seen.
        proof: What was found about this revision; None while it settles.
        requirements: What the proof was made for; other requirements need another one.
        proven: When the proof was made; None for one that never expires.
    """

    revision: str
    bytes: int
    since: datetime
    proof: Proof | None = None
    fingerprint: str = ""
    requirements: Requirements = _DEFAULT
    proven: datetime | None = None

    def doubtful(self, now: datetime) -> bool:
        """Whether a rejection is so old that the proof has to be repeated."""
        if self.proof is None or self.proof.verdict is not Verdict.REJECTED:
            return False
        return self.proven is not None and now - self.proven >= REVISIT


@dataclass(frozen=True, slots=True)
class PollState:
    """The last listing of each version directory, by directory name."""

    listings: Mapping[str, SeenListing] = field(default_factory=dict)

    def record_listing(
        self, directory: str, revision: str, size: int, now: datetime, fingerprint: str = ""
    ) -> "PollState":
        """Record a listing; one that has changed starts to settle again."""
        before = self.listings.get(directory)
        if before and before.revision == revision:
            seen = replace(before, fingerprint=fingerprint)
        else:
            seen = SeenListing(revision, size, now, fingerprint=fingerprint)
        return PollState({**self.listings, directory: seen})

    def record_proof(
        self,
        directory: str,
        proof: Proof,
        requirements: Requirements = _DEFAULT,
        now: datetime | None = None,
    ) -> "PollState":
        """Record what was found about the last listing."""
        seen = replace(self.listings[directory], proof=proof, requirements=requirements, proven=now)
        return PollState({**self.listings, directory: seen})

    def for_requirements(self, requirements: Requirements) -> "PollState":
        """Drop proofs that were made for other requirements, or are void."""
        kept = {
            name: replace(seen, proof=None)
            if seen.proof is not None
            and (seen.requirements != requirements or seen.proof.reason == _MOVED)
            else seen
            for name, seen in self.listings.items()
        }
        return PollState(kept)

    def keep_only(self, directories: set[str]) -> "PollState":
        """Drop directories that no longer exist."""
        return PollState(
            {name: seen for name, seen in self.listings.items() if name in directories}
        )

    def settled(self, directory: str, settle: timedelta, now: datetime) -> bool:
        """Whether a listing has stood still for long enough."""
        return now - self.listings[directory].since >= settle

    def next_settled(self, settle: timedelta) -> datetime | None:
        """When the next listing will have stood still for long enough."""
        waiting = [seen.since + settle for seen in self.listings.values() if seen.proof is None]
        return min(waiting, default=None)


def wanted_versions(
    policy: VersionPolicy, versions: tuple[VersionDirectory, ...]
) -> tuple[VersionDirectory, ...]:
    """Versions that the policy could ask for, highest first."""
    ordered = tuple(sorted(versions, key=lambda v: v.number, reverse=True))
    if policy.specific is None:
        return ordered
    return tuple(v for v in ordered if v.number in policy.specific)
