"""What was verified in a version's directory, as it stands beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from slipway_sync.agent.volume.layout import Layout, is_kept_version, record_path
from slipway_sync.exports import hostile_key

_SHA256_BYTES = 32


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a verified version.

    Attributes:
        size: In bytes.
        etag: The source's tag of it, or "".
        sha256: Of its content, 64 hex digits.
    """

    size: int
    etag: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """A version that lies on the volume and was verified there.

    Attributes:
        revision: What it was synced from, 64 hex digits.
        digest: `sha256:…` of its content.
        origin: Says which store it came from: ETags of two stores do not compare.
        files: Its files by path.
    """

    revision: str
    digest: str
    origin: str
    files: Mapping[str, FileRecord]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files.values())

    def render(self) -> bytes:
        """Return the record's content as a file."""
        # File by file: as one tree of objects the record of many files would take a lot of memory.
        content = BytesIO()
        head = {"revision": self.revision, "digest": self.digest, "origin": self.origin}
        content.write(f'{json.dumps(head)[:-1]}, "files": {{'.encode())
        separator = ""
        for path, file in self.files.items():
            entry = {"size": file.size, "etag": file.etag, "sha256": file.sha256}
            content.write(f"{separator}{json.dumps(path)}: {json.dumps(entry)}".encode())
            separator = ", "
        content.write(b"}}")
        return content.getvalue()

    @classmethod
    def parse(cls, content: bytes) -> Record | None:
        """Read a record; None when it is none of ours, or damaged."""
        try:
            data = json.loads(content, object_hook=_file_or_other)
            files = data["files"]
            if not all(isinstance(file, FileRecord) for file in files.values()):
                return None
            found = cls(str(data["revision"]), str(data["digest"]), str(data["origin"]), files)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return None if hostile_key(files) is not None else found


def read_record(path: Path) -> Record | None:
    """Return the record in a file; None when there is no readable one."""
    try:
        return Record.parse(path.read_bytes())
    except OSError:
        return None


def versions_beside(layout: Layout) -> Iterator[tuple[Path, Record]]:
    """Yield the other versions of a kept volume and what was verified in them; raises OSError."""
    for name in sorted(os.listdir(layout.destination), reverse=True):  # noqa: PTH208 - names
        if name == layout.name or not is_kept_version(name):
            continue
        record = read_record(record_path(layout.destination, name))
        if record is not None:
            yield layout.destination / name, record


def _file_or_other(entry: dict[str, Any]) -> FileRecord | dict[str, Any]:
    """Convert a file's entry as soon as it is read."""
    if entry.keys() != {"size", "etag", "sha256"}:
        return entry
    found = FileRecord(int(entry["size"]), str(entry["etag"]), str(entry["sha256"]))
    if len(bytes.fromhex(found.sha256)) != _SHA256_BYTES:
        raise ValueError("not a SHA-256")
    return found
