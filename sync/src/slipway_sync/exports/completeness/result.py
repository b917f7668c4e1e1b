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


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found.

    Attributes:
        verdict: Complete or not.
        reason: CamelCase: `Complete`, `Empty`, `HostileKey`, `TooManyObjects`, `MissingMarker`,
            `MissingGraph`, `UnreadableGraph`, `MissingTags`, `MissingVariables`,
            `UnreadableIndex`, `MissingShard`, `ShardTooShort`, `MissingAsset`,
            `UnreadableManifest`, `MissingFile`, `Unsigned`, `WrongSignature`, `UnsignedFile`,
            `WrongDigest`, `Moved`.
        message: One sentence; names the file.
        object: The path of the file to blame, relative to the version's directory, or "".
    """

    verdict: Verdict
    reason: str
    message: str
    object: str


def incomplete(reason: str, message: str, path: str = "") -> Proof:
    """Return the finding that something is missing which may still come."""
    return Proof(Verdict.INCOMPLETE, reason, message, path)


def rejected(reason: str, message: str, path: str) -> Proof:
    """Return the finding that something is wrong under this listing."""
    return Proof(Verdict.REJECTED, reason, message, path)
