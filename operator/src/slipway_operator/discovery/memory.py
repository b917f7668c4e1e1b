"""What is remembered of a source between polls: when a listing was first seen, and what was proven.

Pure: the poller asks, reads, and tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.spec import VersionPolicy
from slipway_sync.exports import Proof, Requirements, Verdict, VersionDirectory

_DEFAULT: Final = Requirements()
_MOVED: Final = "Moved"
"""Reason of a proof that says nothing: what was listed was not what was read."""
REVISIT: Final = timedelta(minutes=5)
"""How long a rejection is believed: what lay between may have harmed it, and its listing never tells."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A version directory's listing.

    Attributes:
        fingerprint: Of the store's answer, which tells that nothing has changed (see ListingSummary).
        since: When this revision was first seen.
        proof: Of this revision; None while it settles.
        asked: What the proof was made for; other requirements need another one.
        proven: When the proof was made, if that matters.
    """

    revision: str
    bytes: int
    since: datetime
    proof: Proof | None = None
    fingerprint: str = ""
    asked: Requirements = _DEFAULT
    proven: datetime | None = None

    def doubtful(self, now: datetime) -> bool:
        """Whether a rejection is so old that it has to be made anew."""
        if self.proof is None or self.proof.verdict is not Verdict.REJECTED:
            return False
        return self.proven is not None and now - self.proven >= REVISIT


@dataclass(frozen=True, slots=True)
class Memory:
    """Directories by name."""

    seen: Mapping[str, Seen] = field(default_factory=dict)

    def note(
        self, directory: str, revision: str, size: int, now: datetime, fingerprint: str = ""
    ) -> "Memory":
        """Remember a listing; one that has changed starts to settle anew."""
        before = self.seen.get(directory)
        if before and before.revision == revision:
            seen = replace(before, fingerprint=fingerprint)
        else:
            seen = Seen(revision, size, now, fingerprint=fingerprint)
        return Memory({**self.seen, directory: seen})

    def prove(
        self,
        directory: str,
        proof: Proof,
        asked: Requirements = _DEFAULT,
        now: datetime | None = None,
    ) -> "Memory":
        """Remember what was found about the present listing."""
        seen = replace(self.seen[directory], proof=proof, asked=asked, proven=now)
        return Memory({**self.seen, directory: seen})

    def asking(self, asked: Requirements) -> "Memory":
        """Forget proofs that were made for other requirements, or of a listing that moved."""
        kept = {
            name: replace(seen, proof=None)
            if seen.proof is not None and (seen.asked != asked or seen.proof.reason == _MOVED)
            else seen
            for name, seen in self.seen.items()
        }
        return Memory(kept)

    def only(self, directories: set[str]) -> "Memory":
        """Forget directories that are gone."""
        return Memory({name: seen for name, seen in self.seen.items() if name in directories})

    def settled(self, directory: str, settle: timedelta, now: datetime) -> bool:
        """Whether a listing has stood still for long enough."""
        return now - self.seen[directory].since >= settle

    def next_settled(self, settle: timedelta) -> datetime | None:
        """When the next listing will have stood still for long enough."""
        waiting = [seen.since + settle for seen in self.seen.values() if seen.proof is None]
        return min(waiting, default=None)


def worth_looking_at(
    policy: VersionPolicy, versions: tuple[VersionDirectory, ...]
) -> tuple[VersionDirectory, ...]:
    """Versions that the policy could ask for, highest first."""
    ordered = tuple(sorted(versions, key=lambda v: v.number, reverse=True))
    if policy.specific is None:
        return ordered
    return tuple(v for v in ordered if v.number in policy.specific)
