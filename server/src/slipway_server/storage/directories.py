"""What lies in directories: names, sizes, and whether anything has changed."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

MAX_ENTRIES: Final = 20_000
"""Names that are looked at below a version's directory. No export has as many; a link to `/` or a wrong mount has."""


def walk(
    directory: str,
    failed: Callable[[OSError], None] = lambda error: None,  # noqa: ARG005 - nobody listens
) -> Iterator[os.DirEntry[str]]:
    """Yield what is no directory below a directory, folder by folder, up to `MAX_ENTRIES`.

    Links are yielded and not entered, so that a walk comes to an end.

    Args:
        directory: where to begin; may be a link.
        failed: told of folders that cannot be read.
    """
    left = MAX_ENTRIES
    pending = [directory]
    while pending and left > 0:
        try:
            with os.scandir(pending.pop()) as entries:
                found = sorted(islice(entries, left), key=lambda entry: entry.name)
        except OSError as error:
            failed(error)
            continue
        left -= len(found)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            else:
                yield entry


def fingerprint(directory: str) -> str:
    """Return a digest of the names, sizes and times under a directory: it changes when an upload goes on."""
    digest = hashlib.blake2b(digest_size=16)
    for entry in walk(directory):
        try:
            # Where a link leads is part of what is there: folders are exchanged that way.
            link = str(Path(entry).readlink()) if entry.is_symlink() else ""
            status = entry.stat()
        except OSError:
            continue
        line = f"{entry.path}\0{link}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def file_bytes(directory: str) -> int:
    """Return the bytes of all files under a directory.

    Raises:
        OSError: something there cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    return sum(_size(entry) for entry in walk(directory, fail))


def _size(entry: os.DirEntry[str]) -> int:
    if not entry.is_symlink():
        return entry.stat().st_size
    # A link that leads nowhere is the export's own affair, as long as nothing needs what it names.
    try:
        status = entry.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
