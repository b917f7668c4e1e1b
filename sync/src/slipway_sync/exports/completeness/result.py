"""What a proof comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a proof comes to."""

    COMPLETE = "Complete"
    INCOMPLETE = "Incomplete"
    """Something is missing or short that an upload in progress could still bring."""
    REJECTED = "Rejected"
    """It cannot become right under this listing."""


class ProofReason(StrEnum):
    """Why a proof came to what it did; part of status and of Events."""

    COMPLETE = "Complete"
    EMPTY = "Empty"
    HOSTILE_KEY = "HostileKey"
    TOO_MANY_OBJECTS = "TooManyObjects"
    MISSING_MARKER = "MissingMarker"
    MISSING_GRAPH = "MissingGraph"
    UNREADABLE_GRAPH = "UnreadableGraph"
    MISSING_TAGS = "MissingTags"
    MISSING_VARIABLES = "MissingVariables"
    UNREADABLE_INDEX = "UnreadableIndex"
    MISSING_SHARD = "MissingShard"
    SHARD_TOO_SHORT = "ShardTooShort"
    MISSING_ASSET = "MissingAsset"
    MISSING_TENSOR = "MissingTensor"
    UNSUPPORTED_OPERATION = "UnsupportedOperation"
    UNREADABLE_MANIFEST = "UnreadableManifest"
    MISSING_FILE = "MissingFile"
    UNSIGNED = "Unsigned"
    WRONG_SIGNATURE = "WrongSignature"
    UNSIGNED_FILE = "UnsignedFile"
    WRONG_DIGEST = "WrongDigest"
    MOVED = "Moved"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found.

    Attributes:
        verdict: Complete or not.
        reason: A ProofReason; "" where nothing was examined.
        message: One sentence; names the file.
        object: The path of the file to blame, relative to the version's directory, or "".
    """

    verdict: Verdict
    reason: str
    message: str
    object: str


def incomplete(reason: ProofReason, message: str, path: str = "") -> Proof:
    """Return the finding that something is missing which may still come."""
    return Proof(Verdict.INCOMPLETE, reason, message, path)


def rejected(reason: ProofReason, message: str, path: str) -> Proof:
    """Return the finding that something is wrong under this listing."""
    return Proof(Verdict.REJECTED, reason, message, path)
