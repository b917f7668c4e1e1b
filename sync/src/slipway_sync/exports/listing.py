"""What lies in a version's directory: its listing, its revision, and keys not to be followed."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

_MAX_PATH_BYTES = 1024
_MAX_SEGMENT_BYTES = 255
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
# What nearly all paths are made of, and no rule below could find fault with: a listing may be long.
_PLAIN = re.compile(r"(?:\w[\w.=+@, -]{0,254}/)*\w[\w.=+@, -]{0,254}", re.ASCII)
# Other format characters are legal in a name; these turn the text of a message about it around.
_BIDIRECTIONAL = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a version's directory.

    Attributes:
        path: Relative to the version's directory, `/`-separated.
        size: In bytes.
        etag: The store's tag of this content, without quotes and weakness mark; "" if it has none.
        modified: When the store says it was written; aware.
        sha256: Of its content, 64 hex digits, where an index or a manifest says it; "" otherwise.
            No part of the revision: a store without ETags gives it as the ETag, too.
    """

    path: str
    size: int
    etag: str
    modified: datetime
    sha256: str = ""


Listing = tuple[ObjectInfo, ...]
"""The objects of one version's directory, sorted by path."""


class Revision:
    """The revision of a listing that is given piece by piece, in the order of its paths."""

    def __init__(self) -> None:
        self._hasher = hashlib.sha256()

    def add(self, items: Iterable[ObjectInfo]) -> None:
        """Take the next objects."""
        for item in items:
            parts: list[bytes] = []
            for part in (item.path, str(item.size), item.etag):
                encoded = part.encode("utf-8", "surrogatepass")
                # Lengths keep two listings apart that read alike when joined.
                parts += (len(encoded).to_bytes(8, "big"), encoded)
            self._hasher.update(b"".join(parts))

    def hexdigest(self) -> str:
        """Return the 64 hex digits of what was given so far."""
        return self._hasher.hexdigest()


def revision(listing: Listing) -> str:
    """Return 64 hex digits that change whenever a path, size or ETag of the listing changes."""
    found = Revision()
    found.add(sorted(listing, key=lambda item: item.path))
    return found.hexdigest()


class KeyJudge:
    """Finds what `hostile_key` finds while paths come by in their order; holds a few of them."""

    def __init__(self) -> None:
        self._wrong: tuple[str, str] | None = None
        self._clash: tuple[str, str] | None = None
        self._above: list[str] = []
        """Paths that the last one starts with, and so the next one may: the shortest first."""

    def add(self, path: str) -> None:
        """Take the next path; none comes before another one that sorts before it."""
        if self._wrong is not None:
            return
        wrong = _wrong_with(path)
        if wrong:
            self._wrong = path, wrong
            return
        while self._above and not path.startswith(self._above[-1]):
            self._above.pop()
        if self._clash is None:
            for parent in self._above:
                if len(parent) < len(path) and path[len(parent)] == "/":
                    self._clash = (
                        parent,
                        f"is both a file and the directory of {printable(path)}",
                    )
                    break
        self._above.append(path)

    def found(self) -> tuple[str, str] | None:
        """Return the first path that must not become a file, and what is wrong with it."""
        return self._wrong or self._clash


def hostile_key(paths: Iterable[str]) -> tuple[str, str] | None:
    """Find the first path that must not become a file below a directory of ours.

    Args:
        paths: The paths of one listing; order does not matter.

    Returns:
        The path and what is wrong with it ("holds '..'"), or None.
    """
    judge = KeyJudge()
    for path in sorted(set(paths)):
        judge.add(path)
    return judge.found()


def printable(path: str) -> str:
    """Return a path as it may stand in a sentence: nothing unprintable, not over-long."""
    if len(path) > 200:  # noqa: PLR2004 - enough to find the object, short enough for a status
        path = path[:200] + "…"
    if path and path.isprintable() and not _BIDIRECTIONAL & set(path):
        return path
    return ascii(path)


def _wrong_with(path: str) -> str:
    if len(path) <= _MAX_PATH_BYTES and _PLAIN.fullmatch(path):
        return ""
    return next((sentence for sentence, is_wrong in _RULES if is_wrong(path)), "")


def _has_control_character(path: str) -> bool:
    return any(
        character in _BIDIRECTIONAL or unicodedata.category(character) in _CONTROL
        for character in path
    )


_RULES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("is absolute", lambda path: path.startswith("/")),
    ("contains a backslash", lambda path: "\\" in path),
    ("contains a NUL", lambda path: "\0" in path),
    ("contains a control character", _has_control_character),
    ("starts with a drive letter", lambda path: bool(_DRIVE.match(path))),
    ("contains an empty segment", lambda path: "" in path.split("/")),
    ("holds '..'", lambda path: ".." in path.split("/")),
    ("holds '.'", lambda path: "." in path.split("/")),
    (
        f"is longer than {_MAX_PATH_BYTES} bytes",
        lambda path: len(path.encode()) > _MAX_PATH_BYTES,
    ),
    (
        f"contains a name longer than {_MAX_SEGMENT_BYTES} bytes",
        lambda path: any(len(name.encode()) > _MAX_SEGMENT_BYTES for name in path.split("/")),
    ),
)


def digest(files: Mapping[str, bytes]) -> str:
    """Return `sha256:` and 64 hex digits over every file of an export.

    Args:
        files: The SHA-256 (32 bytes) of each file's content, by its path relative to the
            version's directory.
    """
    hasher = hashlib.sha256()
    for path, content in sorted(files.items()):
        encoded = path.encode("utf-8")
        hasher.update(len(encoded).to_bytes(8, "big") + encoded + content)
    return f"sha256:{hasher.hexdigest()}"
