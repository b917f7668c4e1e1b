"""Exports with a manifest, and signed ones."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Files = dict[str, bytes]


def summed(files: Files, **others: bytes) -> bytes:
    """The manifest of some files, and of others that are not there."""
    lines = (
        f"{hashlib.sha256(content).hexdigest()}  {path}\n"
        for path, content in sorted((files | others).items())
    )
    return "".join(lines).encode()


KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"x")
PUBLIC, OTHER_PUBLIC = (
    key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for key in (KEY, OTHER_KEY)
)


def signed(files: Files, *, key: Ed25519PrivateKey = KEY, unnamed: str = "") -> Files:
    manifest = summed({path: content for path, content in files.items() if path != unnamed})
    return files | {"SHA256SUMS": manifest, "SHA256SUMS.sig": key.sign(manifest)}
