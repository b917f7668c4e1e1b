"""How a sync ended: the agent's exit code and termination message, which the operator reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import IntEnum

_MAX_BYTES = 4096  # The kubelet cuts a termination message there, in mid-JSON.
_MAX_FIELD = 1024


class ExitCode(IntEnum):
    """Exit codes of `slipway-sync`, after sysexits.h."""

    SYNCED = 0
    USAGE = 64
    """The command line is wrong."""
    REJECTED = 65
    """The export is wrong; trying this revision again is useless."""
    SOURCE_UNAVAILABLE = 69
    """Network, 5xx or timeout; trying again may help."""
    VOLUME_ERROR = 74
    """The destination is full or cannot be written."""
    REVISION_MOVED = 75
    """The listing is no longer the planned revision."""
    ACCESS_DENIED = 77
    """The store refuses the credentials."""

    @property
    def reason(self) -> str:
        """The reason in CamelCase, as the termination message and status use it."""
        return _REASONS[self]


PASSING = frozenset({"ObjectDiffers", "Truncated", "WrongChecksum", "WrongSize"})
"""Reasons of a rejection for what the store sent, not for what it lists: trying again later may help."""

_REASONS = {
    ExitCode.SYNCED: "Synced",
    ExitCode.USAGE: "Usage",
    ExitCode.REJECTED: "Rejected",
    ExitCode.SOURCE_UNAVAILABLE: "SourceUnavailable",
    ExitCode.VOLUME_ERROR: "VolumeError",
    ExitCode.REVISION_MOVED: "RevisionMoved",
    ExitCode.ACCESS_DENIED: "AccessDenied",
}


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """The content of the agent's termination log.

    Attributes:
        reason: CamelCase: an exit code's reason, or the proof's when an export is rejected.
        message: One sentence.
        object: The path that is to blame, relative to the version's directory, or "".
        digest: `sha256:…` of a synced export, or "".
        revision: The revision that was asked for.
        bytes: How many bytes of the export lie on the volume.
    """

    reason: str
    message: str
    object: str
    digest: str
    revision: str
    bytes: int

    def render(self) -> str:
        """Return one JSON object of at most 4096 bytes of UTF-8."""
        limit = _MAX_FIELD
        while True:
            cut = replace(self, message=_cut(self.message, limit), object=_cut(self.object, limit))
            text = json.dumps(asdict(cut), ensure_ascii=False)
            if len(text.encode("utf-8", "replace")) <= _MAX_BYTES:
                return text.encode("utf-8", "replace").decode()
            limit //= 2

    @classmethod
    def parse(cls, text: str) -> SyncOutcome | None:
        """Read a termination message; None when it is not one of ours."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(data, dict) or not isinstance(data.get("reason"), str):
            return None
        fields = {name: data.get(name, "") for name in ("message", "object", "digest", "revision")}
        size = data.get("bytes", 0)
        if not all(isinstance(value, str) for value in fields.values()):
            return None
        if not isinstance(size, int) or isinstance(size, bool):
            return None
        return cls(reason=data["reason"], bytes=size, **fields)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
