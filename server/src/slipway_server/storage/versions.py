"""Which version directories of a model should be loaded: a pure function of a listing and a version policy."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# What absl::SimpleAtoi accepts: surrounding white space, a sign, leading zeros.
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_LONGEST_NAME: Final = 255
"""What file systems allow; Python refuses to read numbers of thousands of digits."""
_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Latest:
    """The `count` highest version numbers; 0 means 1, as the wire default does."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class Specific:
    """Exactly these version numbers, as far as they exist."""

    versions: frozenset[int]


@dataclass(frozen=True, slots=True)
class All:
    """Every version there is."""


VersionPolicy = Latest | Specific | All


@dataclass(frozen=True, slots=True)
class Selection:
    """The versions to load.

    Attributes:
        directories: version number → directory name, in ascending order of the number.
        warnings: sentences for the log.
        ignored: sentences about links that were not followed.
    """

    directories: dict[int, str]
    warnings: tuple[str, ...]
    ignored: tuple[str, ...] = ()


def version_number(name: str) -> int | None:
    """Return the version that a directory name stands for, or None when it is no version.

    >>> version_number("00000123"), version_number("v3")
    (123, None)
    """
    if len(name) > _LONGEST_NAME or not _INTEGER.fullmatch(name):
        return None
    number = int(name)
    return number if _INT64_MIN <= number <= _INT64_MAX else None


def requested_directories(policy: VersionPolicy) -> dict[int, str]:
    """Return the directory names of the versions that a `specific` policy asks for; nothing for any other policy.

    >>> requested_directories(Specific(frozenset({10, 2})))
    {2: '2', 10: '10'}
    """
    match policy:
        case Specific(versions=versions):
            return {number: str(number) for number in sorted(versions)}
        case _:
            return {}


def select(model: str, base_path: str, children: Iterable[str], policy: VersionPolicy) -> Selection:
    """Choose among the children of a base path the versions that a policy asks for."""
    found: dict[int, str] = {}
    warnings: list[str] = []
    # Sorted, so that of two spellings of one number the same one is taken on every machine and at every poll.
    for name in sorted(set(children)):
        number = version_number(name)
        if number is None:
            continue
        if number in found:
            warnings.append(
                f"Duplicate version directories detected. Version {number} will be loaded from "
                f"{found[number]}, {name} will be ignored."
            )
        else:
            found[number] = name
    if policy == Specific(frozenset()):
        return Selection({}, (f"No specific versions requested for servable {model}.",))
    if not found:
        warnings.append(
            f"No versions of servable {model} found under base path {base_path}. "
            "Did you forget to name your leaf directory as a number (eg. '/1/')?"
        )
    match policy:
        case Latest(count=count):
            chosen = sorted(found)[-max(count, 1) :]
        case All():
            chosen = sorted(found)
        case Specific(versions=versions):
            chosen = sorted(found.keys() & versions)
            warnings.extend(
                f"Version {number} of servable {model}, which was requested to be served as a "
                f"'specific' version in the servable's config, was not found under {base_path}."
                for number in sorted(versions - found.keys())
            )
    return Selection({number: found[number] for number in chosen}, tuple(warnings))
