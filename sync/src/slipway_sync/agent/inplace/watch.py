"""Looks at a mounted volume again and again and tells what it holds (see exports.report)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from slipway_sync.exports import (
    Proof,
    Requirements,
    Verdict,
    VersionDirectory,
    printable,
    revision,
    version_directories,
)
from slipway_sync.exports.protocol.report import (
    REPEAT_AFTER,
    Report,
    ReportedVersion,
    Standing,
    bounded,
    heartbeat,
    render,
)
from slipway_sync.stores import MountedStore, SourceError, not_a_file, prove

HEARTBEAT = 10.0
"""Seconds between two lines at most."""
_STANDING = {
    Verdict.COMPLETE: Standing.COMPLETE,
    Verdict.INCOMPLETE: Standing.INCOMPLETE,
    Verdict.REJECTED: Standing.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions are looked at, and what they must be.

    Attributes:
        complete: Versions are looked at from the highest one down until so many are complete.
        numbers: These and no others are looked at; None looks by `complete`.
        settle: Seconds for which an export's files must stand still before it is looked into.
        requirements: What is asked of an export.
    """

    complete: int = 32
    numbers: frozenset[int] | None = None
    settle: float = 5.0
    requirements: Requirements = field(default_factory=Requirements)


@dataclass(slots=True)
class _Seen:
    revision: str
    since: float
    proof: Proof | None = None


@dataclass(slots=True)
class Look:
    """Looks at the volume, and remembers since when each export stands still."""

    store: MountedStore
    wanted: Wanted
    clock: Callable[[], float]
    _seen: dict[str, _Seen] = field(default_factory=dict)

    async def once(self) -> Report:
        """Look once; what goes wrong is part of the report."""
        try:
            return bounded(await self._report())
        except SourceError as error:
            return bounded(Report(error_reason=error.reason, error_message=str(error)))

    def due(self) -> float | None:
        """In how many seconds the next export will have stood still for long enough."""
        ends = [seen.since + self.wanted.settle for seen in self._seen.values() if not seen.proof]
        return max(0.1, min(ends) - self.clock()) if ends else None

    async def _report(self) -> Report:
        directories, others = await self.store.entries()
        versions, warnings = version_directories(directories)
        odd, _ = version_directories(others)
        warnings += tuple(
            f"{printable(item.name)} is not a directory, so it is ignored: links are not followed"
            for item in odd[:4]
        )
        self._seen = {v.name: self._seen[v.name] for v in versions if v.name in self._seen}
        found: list[ReportedVersion] = []
        complete = 0
        for version in sorted(versions, reverse=True):
            if not self._is_wanted(version, complete):
                found.append(ReportedVersion(version.number, version.name))
                continue
            found.append(await self._version(version))
            complete += found[-1].standing is Standing.COMPLETE
        return Report(tuple(sorted(found, key=lambda v: v.number)), warnings)

    def _is_wanted(self, version: VersionDirectory, complete: int) -> bool:
        if self.wanted.numbers is not None:
            return version.number in self.wanted.numbers
        return complete < self.wanted.complete

    async def _version(self, version: VersionDirectory) -> ReportedVersion:
        plain = ReportedVersion(version.number, version.name)
        try:
            listing = await self.store.listing(version.name)
            current = revision(listing)
            seen = self._seen.get(version.name)
            if seen is None or seen.revision != current:
                seen = self._seen[version.name] = _Seen(current, self.clock())
            plain = replace(plain, revision=current, bytes=sum(item.size for item in listing))
            if seen.proof is None:
                if self.clock() - seen.since < self.wanted.settle:
                    return replace(plain, standing=Standing.SETTLING)
                seen.proof = not_a_file(listing) or await prove(
                    self.store, version.name, listing, self.wanted.requirements
                )
        except SourceError as error:
            # One export that cannot be read is that export's trouble, not the others'.
            if error.reason == "Unavailable":
                raise
            return replace(
                plain, standing=Standing.INCOMPLETE, reason=error.reason, message=str(error)
            )
        proof = seen.proof
        standing = _STANDING[proof.verdict]
        if standing is Standing.COMPLETE:
            return replace(plain, standing=standing)
        return replace(
            plain,
            standing=standing,
            reason=proof.reason,
            message=proof.message,
            object=proof.object,
        )


class Teller:
    """Turns reports into lines: a whole state when it is new or was not told for a while."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """Write lines through a function."""
        self._write = write
        self._sequence = 0
        self._report: Report | None = None
        self._beats = 0

    def tell(self, report: Report) -> None:
        """Tell what a look came to."""
        if report == self._report:
            self.beat()
            return
        self._report = report
        self._whole(report, 0)

    def beat(self, polling_seconds: int = 0) -> None:
        """Tell that nothing is new, or that a look has not ended for so long."""
        if self._report is not None and self._beats >= REPEAT_AFTER:
            self._whole(self._report, polling_seconds)
            return
        self._beats += 1
        self._sequence += 1
        state = self._report.state if self._report is not None else ""
        self._write(heartbeat(state, self._sequence, polling_seconds))

    def _whole(self, report: Report, polling_seconds: int) -> None:
        self._beats = 0
        self._sequence += 1
        self._write(render(report, self._sequence, polling_seconds))


async def watch(
    look: Look,
    teller: Teller,
    interval: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Look for ever.

    Args:
        look: Looks.
        teller: Tells.
        interval: Returns the seconds until the next look, varied from one to the next.
        sleep: Waits.
    """
    while True:
        begun = look.clock()
        looking = asyncio.ensure_future(look.once())
        while not looking.done():
            # A volume that does not answer holds up a thread, not these lines.
            beat = asyncio.ensure_future(sleep(HEARTBEAT))
            await asyncio.wait({looking, beat}, return_when=asyncio.FIRST_COMPLETED)
            beat.cancel()
            if not looking.done():
                teller.beat(max(1, round(look.clock() - begun)))
        teller.tell(looking.result())
        due = look.due()
        left = interval() if due is None else min(interval(), due)
        while left > HEARTBEAT:
            await sleep(HEARTBEAT)
            teller.beat()
            left -= HEARTBEAT
        await sleep(left)
