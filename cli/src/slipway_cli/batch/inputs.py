"""Where the rows of a batch come from: files and globs, on this machine and in object stores."""

from __future__ import annotations

import glob
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from slipway_cli.batch import objects
from slipway_cli.errors import UsageError

_GLOB: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file with rows.

    Attributes:
        name: Path or URI.
        size: Bytes.
        revision: Changes when its content does.
        open: Opens it for reading.
    """

    name: str
    size: int
    revision: str
    open: Callable[[], BinaryIO]


def input_files(patterns: Sequence[str], store: objects.ObjectAccess) -> tuple[InputFile, ...]:
    """Find the files that some paths, URIs and globs name, each pattern's in the order of their names.

    Raises:
        CliError: A pattern names nothing, or a store cannot be listed.
    """
    found: list[InputFile] = []
    for pattern in patterns:
        if "://" in pattern and not pattern.startswith("file://"):
            found += _objects(pattern, store)
        else:
            found += _local(pattern.removeprefix("file://"))
    names = Counter(file.name for file in found)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is named twice: each of its rows would be asked twice")
    return tuple(found)


def fingerprint(files: Sequence[InputFile]) -> str:
    """Return a hash that changes when any of the files does."""
    hasher = hashlib.sha256()
    for file in files:
        hasher.update(
            f"{file.name}\0{file.size}\0{file.revision}\0".encode("utf-8", "surrogateescape")
        )
    return hasher.hexdigest()


def _local(pattern: str) -> list[InputFile]:
    # A file that is there is meant, whatever characters its name has.
    if pattern == "-":
        raise UsageError(
            "a batch cannot go on from stdin after an interruption: write the rows to a file"
        )
    paths = [Path(pattern)]
    if not paths[0].exists():
        if not _GLOB.search(pattern):
            raise UsageError(f"{pattern} does not exist")
        names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - also absolute ones
        paths = [path for path in map(Path, names) if path.is_file()]
        if not paths:
            raise UsageError(f"{pattern} matches no file")
    return [_file(path) for path in paths]


def _file(path: Path) -> InputFile:
    if not path.is_file():
        raise UsageError(f"{path} is no file: name its files, as {path}/*.jsonl")
    found = path.stat()

    def opened() -> BinaryIO:
        return path.open("rb")

    return InputFile(str(path), found.st_size, f"{found.st_mtime_ns:x}", opened)


def _objects(uri: str, access: objects.ObjectAccess) -> list[InputFile]:
    parts = urlsplit(uri)
    if _GLOB.search(uri) and parts.scheme in {"http", "https"}:
        raise UsageError(f"{uri}: a web server cannot be listed: name each file")
    store = objects.opened(uri, access)
    if not _GLOB.search(uri):
        found = [objects.head(store, uri)]
    else:
        key = objects.key_of(uri)
        matching = glob_pattern(key)
        before = _GLOB.split(key, maxsplit=1)[0]
        listed = objects.listed(store, uri, before.rpartition("/")[0])
        found = sorted(
            (item for item in listed if matching.fullmatch(item.key)), key=lambda one: one.key
        )
        if not found:
            raise UsageError(f"{uri} matches no object")
    base = uri.removesuffix(objects.key_of(uri))
    return [
        InputFile(
            f"{base}{item.key}",
            item.size,
            item.revision,
            lambda item=item: io.BufferedReader(
                objects.ObjectReader(store, uri, item.key), 1 << 20
            ),  # type: ignore[misc]
        )
        for item in found
    ]


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """Return what matches a glob over keys: `*` and `?` stay within a folder, `**/` does not.

    >>> bool(glob_pattern("rows/*.csv").fullmatch("rows/a/b.csv"))
    False
    """
    found = ""
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            found, at = f"{found}(?:.*/)?", at + 3
            continue
        letter = pattern[at]
        end = pattern.find("]", at + 2) if letter == "[" else -1
        if end > 0:
            inner = pattern[at + 1 : end]
            inner = f"^{inner[1:]}" if inner.startswith("!") else inner
            inner = inner.replace("\\", "\\\\").replace("[", "\\[")
            found, at = f"{found}[{inner}]", end + 1
            continue
        found += {"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter))
        at += 1
    return re.compile(found, re.DOTALL)
