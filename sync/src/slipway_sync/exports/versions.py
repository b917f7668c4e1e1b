"""Which children of a model's directory are versions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LARGEST = 2**63 - 1
_DIGITS = re.compile(r"[0-9]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class VersionDirectory:
    """A version and the spelling of its directory.

    Attributes:
        number: The version, 0 to 2^63 - 1.
        name: The directory's name in the source: decimal, leading zeros allowed (`00000003` is 3).
    """

    number: int
    name: str


def version_directories(
    names: Iterable[str],
) -> tuple[tuple[VersionDirectory, ...], tuple[str, ...]]:
    """Return the version directories among some names, sorted by number, and warnings.

    Names that are no decimal int64 are ignored. Of two spellings of one number the shorter one is
    taken, whatever the order of the names, and a warning says so.
    """
    spellings: dict[int, list[str]] = {}
    for name in set(names):
        number = _number(name)
        if number is not None:
            spellings.setdefault(number, []).append(name)
    directories: list[VersionDirectory] = []
    warnings: list[str] = []
    for number in sorted(spellings):
        taken, *ignored = sorted(spellings[number], key=lambda name: (len(name), name))
        directories.append(VersionDirectory(number, taken))
        warnings.extend(
            f"directories {taken!r} and {name!r} both mean version {number}: {taken!r} is used, "
            f"{name!r} is ignored until one of them is removed"
            for name in ignored
        )
    return tuple(directories), tuple(warnings)


def _number(name: str) -> int | None:
    if not _DIGITS.fullmatch(name):
        return None
    number = int(name)
    return number if number <= _LARGEST else None
