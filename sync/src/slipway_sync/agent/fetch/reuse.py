"""Takes over files that another version on the volume holds already."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slipway_sync.agent.errors import volume_errors
from slipway_sync.agent.volume.filesystem import READ_ONLY, is_regular
from slipway_sync.agent.volume.record import Record
from slipway_sync.agent.volume.staging import StagingDirectory
from slipway_sync.exports import ObjectInfo

_CONTENT_TAG = re.compile(r"[0-9a-f]{32}(-[0-9]+)?", re.ASCII)
"""An MD5 of the content, or of the MD5s of an upload's parts. Other tags are new at each write."""
_NO_LINKS = frozenset(
    {errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV}
)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Shared:
    """A file to come that the volume holds already.

    Attributes:
        item: What is to come.
        source: Where it lies.
        sha256: What it was when it was verified there.
    """

    item: ObjectInfo
    source: Path
    sha256: bytes


def store_name(uri: str, endpoint: str) -> str:
    """Return a name for the store behind a URI: within it, equal tags of content mean equal content.

    A hash, as a URI may hold what a volume should not.
    """
    scheme, _, rest = uri.partition("://")
    return hashlib.sha256(f"{scheme}://{rest.partition('/')[0]} {endpoint}".encode()).hexdigest()


def shareable(
    missing: Iterable[ObjectInfo], versions: Iterable[tuple[Path, Record]], origin: str
) -> list[Shared]:
    """Find files that equal files of other versions, by SHA-256 or by a tag of their content: pure.

    Args:
        missing: What is to come.
        versions: The other versions: their directories and what was verified in them. Taken one
            after the other, as a record may be large.
        origin: The store that all of `missing` lies in.
    """
    by_hash: dict[tuple[int, str], list[ObjectInfo]] = {}
    by_tag: dict[tuple[int, str], list[ObjectInfo]] = {}
    for item in missing:
        # An empty file is sooner made than linked.
        if item.size and item.sha256:
            by_hash.setdefault((item.size, item.sha256), []).append(item)
        elif item.size and _CONTENT_TAG.fullmatch(item.etag):
            by_tag.setdefault((item.size, item.etag), []).append(item)
    found: dict[str, Shared] = {}
    for directory, record in versions:
        for path, file in record.files.items():
            equal = by_hash.get((file.size, file.sha256), [])
            if record.origin == origin:
                equal = equal + by_tag.get((file.size, file.etag), [])
            for item in equal:
                shared = Shared(item, directory / path, bytes.fromhex(file.sha256))
                found.setdefault(item.path, shared)
    return list(found.values())


def link(partial: StagingDirectory, shared: Shared) -> bool:
    """Give a file of another version a second name; false where that cannot be.

    Raises:
        SyncError: The volume cannot be written.
    """
    path = shared.item.path
    with volume_errors(path):
        if not _is_sealed(shared.source, shared.item.size):
            return False
        try:
            partial.link(shared.source, path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise
        return True


def copy(partial: StagingDirectory, shared: Shared) -> bool:
    """Copy a file of another version; false when it is not there any more.

    Raises:
        SyncError: The volume cannot be written.
    """
    item = shared.item
    with volume_errors(item.path):
        try:
            source = os.open(shared.source, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            target = partial.create(item.path)
            try:
                position = 0
                while chunk := os.pread(source, _CHUNK, position):
                    partial.write(target, chunk, position)
                    position += len(chunk)
                partial.seal(target)
            finally:
                os.close(target)
        finally:
            os.close(source)
        return position == item.size


def _is_sealed(path: Path, size: int) -> bool:
    """Tell whether nobody may write to a file; take away permissions that somebody gave it.

    The kubelet does so on volumes whose owner it sets at each mount.
    """
    if not is_regular(path, size):
        return False
    if path.stat().st_mode & 0o222:
        try:
            path.chmod(READ_ONLY)
        except OSError:
            return False
    return True
