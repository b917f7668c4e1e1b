"""The identity of an export: what it contains, wherever it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


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
