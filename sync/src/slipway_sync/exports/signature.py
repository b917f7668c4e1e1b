"""Who vouches for a manifest: Ed25519 keys and signatures.

The library is loaded when there is a key: few have one, and it would be a sixth of the agent's start.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

SIGNATURE_LIMIT = 4096
"""Largest file in bytes that is looked at as a signature; one has 64, or 128 hex digits."""

_KEYS_LIMIT = 16 << 10
_SIZE = 64
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_HEX = re.compile(rb"[0-9A-Fa-f]{128}")


class PublicKeyError(ValueError):
    """Public keys are unreadable; the message says why, as the end of a sentence, and no content."""


class SignatureError(ValueError):
    """A file is no signature; the message says why, as the end of a sentence."""


def read_public_keys(pem: bytes) -> tuple[bytes, ...]:
    """Return the Ed25519 public keys of a PEM file, 32 bytes each, at least one.

    Several keys stand one after the other, so that a new one can be used before the old one goes.

    Raises:
        PublicKeyError: It holds none, or something else.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )

    if len(pem) > _KEYS_LIMIT:
        raise PublicKeyError(f"it is larger than {_KEYS_LIMIT >> 10} KiB")
    keys: list[bytes] = []
    for number, match in enumerate(_PEM.finditer(pem), 1):
        if b"PRIVATE" in match[1]:
            raise PublicKeyError(
                "it contains a private key: keep that secret, and use the public key that "
                "`openssl pkey -pubout` writes"
            )
        try:
            key = load_pem_public_key(match[0])
        except (ValueError, UnsupportedAlgorithm) as error:
            raise PublicKeyError(f"its PEM block {number} is not a public key") from error
        if not isinstance(key, Ed25519PublicKey):
            raise PublicKeyError(f"its PEM block {number} is not an Ed25519 key")
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        if raw not in keys:
            keys.append(raw)
    if not keys:
        raise PublicKeyError("it contains no PEM block -----BEGIN PUBLIC KEY-----")
    return tuple(keys)


def read_signature(content: bytes) -> bytes:
    """Return the 64 bytes of a signature that is written raw, in hex or in base64.

    Raises:
        SignatureError: It is none of these.
    """
    if len(content) == _SIZE:
        return content
    if len(content) > SIGNATURE_LIMIT:
        raise SignatureError(f"it is larger than {SIGNATURE_LIMIT} bytes")
    if content[_SIZE:] in {b"\n", b"\r\n"}:
        return content[:_SIZE]
    text = b"".join(content.split())
    try:
        found = bytes.fromhex(text.decode()) if _HEX.fullmatch(text) else _base64(text)
    except (binascii.Error, ValueError) as error:
        raise SignatureError(_FORMS) from error
    if len(found) != _SIZE:
        raise SignatureError(_FORMS)
    return found


def signed(manifest: bytes, signature: bytes, keys: Iterable[bytes]) -> bool:
    """Whether one of these keys made this signature (64 bytes) of exactly these bytes."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    for key in keys:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, manifest)
        except InvalidSignature:
            continue
        return True
    return False


_FORMS = "it is not an Ed25519 signature of 64 bytes, 128 hex digits or base64"


def _base64(text: bytes) -> bytes:
    return base64.b64decode(text, validate=True)
