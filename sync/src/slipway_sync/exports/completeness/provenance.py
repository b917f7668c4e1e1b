"""The checks of where an export comes from: its manifest and the signature on that."""

from __future__ import annotations

from collections.abc import Mapping

from slipway_sync.exports.completeness.context import CheckContext
from slipway_sync.exports.completeness.result import Proof, ProofReason, incomplete, rejected
from slipway_sync.exports.listing import printable
from slipway_sync.exports.manifest import (
    MANIFEST,
    MANIFEST_LIMIT,
    SIGNATURE,
    Manifest,
    ManifestError,
)
from slipway_sync.exports.signature import (
    SIGNATURE_LIMIT,
    SignatureError,
    read_signature,
    signed,
)

_WRITE = "find . -type f ! -name 'SHA256SUMS*' -exec sha256sum {} + > SHA256SUMS"
_SIGN = "openssl pkeyutl -sign -rawin -inkey KEY.pem -in SHA256SUMS -out SHA256SUMS.sig"
_ASKED = "the Model's source.signature requires it"


def manifest_is_readable(context: CheckContext) -> Proof | None:
    """A manifest that is there is one."""
    size = context.sizes.get(MANIFEST)
    if size is None:
        return None
    if size == 0:
        return incomplete(ProofReason.UNREADABLE_MANIFEST, f"{MANIFEST} is empty", MANIFEST)
    if size > MANIFEST_LIMIT:
        return rejected(
            ProofReason.UNREADABLE_MANIFEST,
            f"{MANIFEST} is larger than {MANIFEST_LIMIT >> 20} MiB",
            MANIFEST,
        )
    try:
        _ = context.manifest
    except ManifestError as error:
        return rejected(
            ProofReason.UNREADABLE_MANIFEST, f"{MANIFEST} is not readable: {error}", MANIFEST
        )
    return None


def named_files_are_there(context: CheckContext) -> Proof | None:
    """Every file that the manifest names is there."""
    if context.manifest is None:
        return None
    path = context.summary.missing
    if context.summary.whole:
        path = next((path for path in context.manifest.sha256 if path not in context.sizes), "")
    if not path:
        return None
    return incomplete(
        ProofReason.MISSING_FILE, f"{printable(path)} is missing: {MANIFEST} names it", path
    )


def manifest_is_signed(context: CheckContext) -> Proof | None:
    """Somebody who is trusted signed the manifest, where that is asked for."""
    if not context.requirements.public_keys:
        return None
    for path, how in ((MANIFEST, f"{_WRITE}; {_SIGN}"), (SIGNATURE, _SIGN)):
        if path not in context.sizes:
            return rejected(
                ProofReason.UNSIGNED,
                f"{path} is missing: {_ASKED}; in the export's folder run {how} and upload that",
                path,
            )
    if context.sizes[SIGNATURE] > SIGNATURE_LIMIT:
        return _wrong_signature(f"is larger than {SIGNATURE_LIMIT} bytes")
    try:
        signature = read_signature(bytes(context.contents.get(SIGNATURE, b"")))
    except SignatureError as error:
        return _wrong_signature(f"is not readable: {error}")
    content = bytes(context.contents.get(MANIFEST, b""))
    if signed(content, signature, context.requirements.public_keys):
        return None
    return _wrong_signature(
        f"is not a signature of {MANIFEST} by a key in source.signature.publicKey"
    )


def _wrong_signature(what: str) -> Proof:
    return rejected(
        ProofReason.WRONG_SIGNATURE,
        f"{SIGNATURE} {what}: sign the current {MANIFEST} again with {_SIGN} and upload both",
        SIGNATURE,
    )


def all_files_are_named(context: CheckContext) -> Proof | None:
    """The signed manifest names every file; one that it does not name could be anybody's."""
    if not context.requirements.public_keys or context.manifest is None:
        return None
    path = context.summary.unnamed
    if context.summary.whole:
        named = context.manifest.sha256.keys() | {MANIFEST, SIGNATURE}
        path = next((path for path in context.sizes if path not in named), "")
    if not path:
        return None
    return rejected(
        ProofReason.UNSIGNED_FILE,
        f"{printable(path)} is not listed in the signed {MANIFEST}: remove it, or run {_WRITE}; "
        f"{_SIGN} and upload both",
        path,
    )


def altered(manifest: Manifest, digests: Mapping[str, bytes]) -> Proof | None:
    """Find a file whose content is not what the manifest says.

    Args:
        manifest: What SHA256SUMS says.
        digests: The SHA-256 (32 bytes) of files, by path.
    """
    for path, sha256 in manifest.sha256.items():
        found = digests.get(path)
        if found is not None and found.hex() != sha256:
            return wrong_digest(path, found.hex(), sha256)
    return None


def wrong_digest(path: str, found: str, wanted: str) -> Proof:
    """Return the finding that a file's content is not the one its author wrote down."""
    return rejected(
        ProofReason.WRONG_DIGEST,
        f"{printable(path)} has the SHA-256 {found[:12]}…, but {MANIFEST} lists {wanted[:12]}…: "
        "upload it again",
        path,
    )
