"""What lies in directories: names, sizes, and whether anything has changed."""

import hashlib
import os
from pathlib import Path


def directories(base_path: Path) -> list[str]:
    """Return the names of the directories in a directory.

    Raises:
        OSError: it cannot be read.
    """
    with os.scandir(base_path) as entries:
        return [entry.name for entry in entries if entry.is_dir()]


def fingerprint(directory: str) -> str:
    """Return a digest of the names, sizes and times under a directory: it changes when an upload goes on."""
    digest = hashlib.blake2b(digest_size=16)
    for folder, folders, files in os.walk(directory):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(files)):
            try:
                status = path.stat()
            except OSError:
                continue
            line = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def file_bytes(directory: str) -> int:
    """Return the bytes of all files under a directory.

    Raises:
        OSError: something there cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    return sum(
        Path(folder, name).stat().st_size
        for folder, _, files in os.walk(directory, onerror=fail)
        for name in files
    )
