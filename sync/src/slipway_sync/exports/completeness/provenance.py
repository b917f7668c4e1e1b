"""The checks of where an export comes from: its manifest and the signature on that."""

from __future__ import annotations

from collections.abc import Mapping

from slipway_sync.exports.completeness.context import Evidence
from slipway_sync.exports.completeness.result import Proof, incomplete, rejected
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


def manifest_is_readable(evidence: Evidence) -> Proof | None:
    """A manifest that is there is one."""
    size = evidence.sizes.get(MANIFEST)
    if size is None:
        return None
    if size == 0:
        return incomplete("UnreadableManifest", f"{MANIFEST} is empty", MANIFEST)
    if size > MANIFEST_LIMIT:
        return rejected(
            "UnreadableManifest", f"{MANIFEST} is larger than {MANIFEST_LIMIT >> 20} MiB", MANIFEST
        )
    try:
        _ = evidence.manifest
    except ManifestError as error:
        return rejected("UnreadableManifest", f"{MANIFEST} is not readable: {error}", MANIFEST)
    return None


def named_files_are_there(evidence: Evidence) -> Proof | None:
    """Every file that the manifest names is there."""
    if evidence.manifest is None:
        return None
    path = evidence.survey.missing
    if evidence.survey.whole:
        path = next((path for path in evidence.manifest.sha256 if path not in evidence.sizes), "")
    if not path:
        return None
    return incomplete("MissingFile", f"{printable(path)} is missing: {MANIFEST} names it", path)


def manifest_is_signed(evidence: Evidence) -> Proof | None:
    """Somebody who is trusted signed the manifest, where that is asked for."""
    if not evidence.requirements.public_keys:
        return None
    for path, how in ((MANIFEST, f"{_WRITE}; {_SIGN}"), (SIGNATURE, _SIGN)):
        if path not in evidence.sizes:
            return rejected(
                "Unsigned",
                f"{path} is missing: {_ASKED}; in the export's folder run {how} and upload that",
                path,
            )
    if evidence.sizes[SIGNATURE] > SIGNATURE_LIMIT:
        return _wrong_signature(f"is larger than {SIGNATURE_LIMIT} bytes")
    try:
        signature = read_signature(bytes(evidence.contents.get(SIGNATURE, b"")))
    except SignatureError as error:
        return _wrong_signature(f"is not readable: {error}")
    content = bytes(evidence.contents.get(MANIFEST, b""))
    if signed(content, signature, evidence.requirements.public_keys):
        return None
    return _wrong_signature(
        f"is not a signature of {MANIFEST} by a key in source.signature.publicKey"
    )


def _wrong_signature(what: str) -> Proof:
    return rejected(
        "WrongSignature",
        f"{SIGNATURE} {what}: sign the current {MANIFEST} again with {_SIGN} and upload both",
        SIGNATURE,
    )


def all_files_are_named(evidence: Evidence) -> Proof | None:
    """The signed manifest names every file; one that it does not name could be anybody's."""
    if not evidence.requirements.public_keys or evidence.manifest is None:
        return None
    path = evidence.survey.unnamed
    if evidence.survey.whole:
        named = evidence.manifest.sha256.keys() | {MANIFEST, SIGNATURE}
        path = next((path for path in evidence.sizes if path not in named), "")
    if not path:
        return None
    return rejected(
        "UnsignedFile",
        f"{printable(path)} is not listed in the signed {MANIFEST}: remove it, or run {_WRITE}; "
        f"{_SIGN} and upload both",
        path,
    )


def altered(manifest: Manifest, digests: Mapping[str, bytes]) -> Proof | None:
    """Find a file whose content is not what the manifest says.

    Args:
        manifest: Of the export.
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
        "WrongDigest",
        f"{printable(path)} has the SHA-256 {found[:12]}…, but {MANIFEST} lists {wanted[:12]}…: "
        "upload it again",
        path,
    )
