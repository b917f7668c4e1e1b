"""What `slipway-sync watch` tells of a volume: JSON lines, which the operator reads from a pod's log.

A line of the event `versions` is a whole state and is printed when it is new, and now and then
again, so that the last few lines of a log always hold it. A `heartbeat` names the state that still
holds. Whatever stands in the volume, a line has at most LINE_LIMIT bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from slipway_sync.exports.listing import printable
from slipway_sync.exports.versions import version_directories

LINE_LIMIT = 320 << 10
"""Bytes of one line."""
TAIL_LINES = 16
"""So many last lines of a log hold the present state."""
REPEAT_AFTER = 10
"""Heartbeats after which the state is printed in full again."""
MAX_VERSIONS = 256
"""Versions of one report, the highest; as many as a Model's status has rows."""
_MAX_TEXT = 300
_MAX_WARNINGS = 8
_HEX = frozenset("0123456789abcdef")
_REASON = re.compile(r"([A-Za-z][A-Za-z0-9]{0,63})?")
_MAX_NUMBER = (1 << 63) - 1
"""More does not fit into a status."""
_LONGEST = 1 << 30
"""Seconds; a look that takes years is no more hopeless than one that takes these."""


class Standing(StrEnum):
    """How far an export on a volume is."""

    UNSEEN = "Unseen"
    SETTLING = "Settling"
    INCOMPLETE = "Incomplete"
    REJECTED = "Rejected"
    COMPLETE = "Complete"


@dataclass(frozen=True, slots=True)
class ReportedVersion:
    """One version directory.

    Attributes:
        number: The version.
        directory: The directory's own spelling.
        standing: How far it is.
        revision: 64 hex digits; "" when it was not looked at.
        bytes: Its size.
        reason: Of the proof, CamelCase; "" when there is nothing to say.
        message: One sentence.
        object: The file to blame, relative to the directory, or "".
    """

    number: int
    directory: str
    standing: Standing = Standing.UNSEEN
    revision: str = ""
    bytes: int = 0
    reason: str = ""
    message: str = ""
    object: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What one look at a volume came to.

    Attributes:
        versions: Sorted by number.
        warnings: Sentences about the directory.
        error_reason: CamelCase when the directory cannot be read, else "".
        error_message: One sentence.
    """

    versions: tuple[ReportedVersion, ...] = ()
    warnings: tuple[str, ...] = ()
    error_reason: str = ""
    error_message: str = ""

    @property
    def state(self) -> str:
        """Sixteen hex digits that tell this report from another one."""
        return hashlib.sha256(json.dumps(_fields(self)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Tail:
    """What the end of a log tells.

    Attributes:
        sequence: Number of the last line; it rises as long as the watch is alive.
        state: A hash of the report that the reader should have by now.
        polling_seconds: How long a look that has not ended takes; 0 between two looks.
        report: The present report; None when its line is not in this part of the log.
    """

    sequence: int
    state: str
    polling_seconds: int
    report: Report | None


def bounded(report: Report) -> Report:
    """Return a report that fits into a line: the highest versions, no sentence over-long."""
    versions = sorted(report.versions, key=lambda version: version.number)
    dropped = max(0, len(versions) - MAX_VERSIONS)
    warnings = [_cut(text) for text in report.warnings[:_MAX_WARNINGS]]
    if dropped:
        warnings.append(f"{dropped} versions below {versions[dropped].number} are not looked at")
    return Report(
        versions=tuple(
            ReportedVersion(
                version.number,
                version.directory,
                version.standing,
                version.revision,
                version.bytes,
                version.reason,
                _cut(version.message),
                _cut(printable(version.object)) if version.object else "",
            )
            for version in versions[dropped:]
        ),
        warnings=tuple(warnings),
        error_reason=report.error_reason,
        error_message=_cut(report.error_message),
    )


def render(report: Report, sequence: int, polling_seconds: int = 0) -> str:
    """Return the line of a whole state; `report` comes from `bounded`."""
    line = {"event": "versions", "sequence": sequence, "state": report.state}
    return json.dumps(line | {"pollingSeconds": polling_seconds} | _fields(report))


def heartbeat(state: str, sequence: int, polling_seconds: int) -> str:
    """Return the line that says that a state still holds."""
    line = {"event": "heartbeat", "sequence": sequence, "state": state}
    return json.dumps(line | {"pollingSeconds": polling_seconds})


def parse_tail(log: str) -> Tail | None:
    """Read the last lines of a log; None when none of them is one of ours."""
    lines = [entry for line in log.splitlines() if (entry := _entry(line)) is not None]
    if not lines:
        return None
    last = lines[-1]
    state = last["state"]
    polling = last.get("pollingSeconds", 0)
    full = (
        _report(entry)
        for entry in reversed(lines)
        if entry["event"] == "versions" and entry["state"] == state
    )
    return Tail(
        sequence=last["sequence"],
        state=state,
        polling_seconds=min(polling, _LONGEST) if _is_count(polling) else 0,
        report=next(full, None),
    )


def _fields(report: Report) -> dict[str, Any]:
    return {
        "reason": report.error_reason,
        "message": report.error_message,
        "warnings": list(report.warnings),
        "versions": [
            {
                name: value
                for name, value in (
                    ("version", version.number),
                    ("directory", version.directory),
                    ("state", version.standing.value),
                    ("revision", version.revision),
                    ("bytes", version.bytes),
                    ("reason", version.reason),
                    ("message", version.message),
                    ("object", version.object),
                )
                if value != ""
            }
            for version in report.versions
        ],
    }


def _entry(line: str) -> dict[str, Any] | None:
    if len(line) > LINE_LIMIT:
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("event") not in ("versions", "heartbeat"):
        return None
    sequence, state = entry.get("sequence"), entry.get("state")
    good = _is_count(sequence) and isinstance(state, str) and len(state) <= 64  # noqa: PLR2004
    return entry if good else None


def _report(entry: dict[str, Any]) -> Report | None:
    """Read a whole state; None when it cannot be one of ours."""
    try:
        return Report(
            versions=tuple(_versions(entry["versions"])),
            warnings=_texts(entry["warnings"][: _MAX_WARNINGS + 1]),
            error_reason=_reason(entry["reason"]),
            error_message=_texts([entry["message"]])[0],
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _versions(entries: Sequence[dict[str, Any]]) -> Iterable[ReportedVersion]:
    for entry in entries[:MAX_VERSIONS]:
        message, path = _texts(entry.get(name, "") for name in ("message", "object"))
        version = ReportedVersion(
            number=entry["version"],
            directory=entry["directory"],
            standing=Standing(entry["state"]),
            revision=entry.get("revision", ""),
            bytes=entry.get("bytes", 0),
            reason=_reason(entry.get("reason", "")),
            message=message,
            object=path,
        )
        # The directory becomes part of a path in a pod: nothing but a version's spelling will do.
        found, _ = version_directories([version.directory])
        spelt = bool(found) and found[0].number == version.number
        revision = version.revision
        hexadecimal = set(revision) <= _HEX and len(revision) in (0, 64)
        if not (spelt and hexadecimal and _is_count(version.bytes)):
            raise ValueError
        yield version


def _reason(value: object) -> str:
    """Return a reason; it becomes one of a condition, where nothing but a word is taken."""
    if not isinstance(value, str) or not _REASON.fullmatch(value):
        raise ValueError
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= _MAX_NUMBER


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    found = []
    for value in values:
        if not isinstance(value, str):
            raise TypeError
        found.append(_cut(value))
    return tuple(found)


def _cut(text: str) -> str:
    """Return a text that takes at most _MAX_TEXT bytes of a line, whatever its characters."""
    text = " ".join(text.split())
    if len(json.dumps(text)) - 2 <= _MAX_TEXT:
        return text
    kept = text[: _MAX_TEXT - 6]
    while len(json.dumps(kept)) - 2 > _MAX_TEXT - 6:
        kept = kept[: len(kept) * 9 // 10]
    return f"{kept}…"
