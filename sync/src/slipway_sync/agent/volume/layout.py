"""Names on a volume. Pure.

    DESTINATION/                          one Model's place on the volume
        3/                                a version on a pod's own volume
        3-0123456789ab/                   a version on a kept volume: number and revision
            .slipway.lock                 on a kept volume: locked, shared, while a server has it open
        .slipway-3-0123456789ab.json      what was verified in it; its time tells when it was last used
        .slipway-3-0123456789ab.partial/  a sync under way, or what a killed one left
            files/                        becomes the version by one rename
            journal.jsonl                 files that were whole and verified, for the next run
        .slipway-3-0123456789ab.gone.partial/   on its way out
        .slipway.lock                     on a kept volume: locked by the one sync that writes

Readers of versions look for numbers, or are given a version's own directory; all other names are
invisible to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LOCK = ".slipway.lock"
"""Name of the lock files: one beside the versions, one in each of them."""
PREFIX = ".slipway-"
PARTIAL = ".partial"
RECORD = ".json"
FILES = "files"
JOURNAL = "journal.jsonl"
_KEPT_NAME = re.compile(r"(0|[1-9][0-9]{0,18})-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one version lies.

    Attributes:
        destination: The Model's place on the volume.
        version: The version's number.
        revision: What is to lie there, 64 hex digits.
        kept: Whether the volume outlives the pod and holds other versions, too.
    """

    destination: Path
    version: int
    revision: str
    kept: bool = False

    @property
    def identity(self) -> str:
        """Number and revision: `3-0123456789ab`."""
        return f"{self.version}-{self.revision[:12]}"

    @property
    def name(self) -> str:
        """Name of the version's directory."""
        return self.identity if self.kept else str(self.version)

    @property
    def target(self) -> Path:
        """The version's directory."""
        return self.destination / self.name

    @property
    def record(self) -> Path:
        """The file that says what was verified in it."""
        return record_path(self.destination, self.name)

    @property
    def partial(self) -> Path:
        """The directory of a sync under way."""
        return self.destination / f"{PREFIX}{self.identity}{PARTIAL}"

    @property
    def lock(self) -> Path:
        """The file whose lock the writer of a kept volume holds."""
        return self.destination / LOCK


def record_path(destination: Path, name: str) -> Path:
    """Return the record of a version's directory."""
    return destination / f"{PREFIX}{name}{RECORD}"


def gone_path(destination: Path, name: str) -> Path:
    """Return what a version's directory is called while it is removed."""
    return destination / f"{PREFIX}{name}.gone{PARTIAL}"


def is_kept_version(name: str) -> bool:
    """Tell whether a name is that of a version on a kept volume.

    >>> is_kept_version("3-0123456789ab"), is_kept_version("3")
    (True, False)
    """
    return _KEPT_NAME.fullmatch(name) is not None


def identity_of_partial(name: str) -> str:
    """Return the number and revision of a sync under way, or "" when it is none (any more).

    >>> identity_of_partial(".slipway-3-0123456789ab.partial")
    '3-0123456789ab'
    >>> identity_of_partial(".slipway-3-0123456789ab.gone.partial")
    ''
    """
    inner = name.removeprefix(PREFIX).removesuffix(PARTIAL)
    return inner if is_leftover(name) and is_kept_version(inner) else ""


def is_besides(path: str) -> bool:
    """Tell whether a file in a version's directory need not be the export's.

    It is our lock, or what NFS calls a file that was removed while somebody had it open, which
    goes by itself.

    >>> is_besides("variables/.nfs0000000000c5f2a100000001")
    True
    """
    return path == LOCK or path.rpartition("/")[2].startswith(".nfs")


def is_leftover(name: str) -> bool:
    """Tell whether a name is that of a sync under way or of something on its way out."""
    return name.startswith(PREFIX) and name.endswith(PARTIAL)
