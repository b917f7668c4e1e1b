"""What retention looks at: the exports of a source from the highest to the lowest."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from slipway_operator.api.status import RetentionStatus
from slipway_operator.model.source import Readiness


@dataclass(frozen=True, slots=True)
class OldExport:
    """A version directory, listed now.

    Attributes:
        readiness: UNSEEN when it was only listed, which is enough for one that may go.
        newest: When its newest object was written, by the store's clock; None when it is empty.
        is_export: Whether it holds a graph; what holds none is not ours to delete.
        hostile: What is wrong with one of its keys, as a sentence; empty when nothing is.
    """

    number: int
    directory: str
    revision: str
    objects: int
    bytes: int
    newest: datetime | None
    readiness: Readiness
    is_export: bool = True
    hostile: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """A look at all exports of a source.

    Attributes:
        exports: Highest first: down to the last that has to stay, each is proven; below, listed.
        listed: Every number that the source holds.
        whole: Whether all of them were looked at; the lowest are.
    """

    exports: tuple[OldExport, ...]
    listed: frozenset[int]


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What a pass of retention wants the status to say; it replaces what it says now.

    Attributes:
        status: None when there is nothing to remember.
    """

    status: RetentionStatus | None


@dataclass(frozen=True, slots=True)
class Protected:
    """What retention must leave alone.

    Attributes:
        floor: No version from this one up may be deleted; None protects every version, because nothing
            serves or should.
        versions: Versions below the floor that may not be deleted either.
        needed: Versions that serve: if one is not in the source, something is wrong with it.
    """

    floor: int | None
    versions: Collection[int]
    needed: Collection[int]

    def allows(self, version: int) -> bool:
        """Whether a version may be deleted."""
        return self.floor is not None and version < self.floor and version not in self.versions
