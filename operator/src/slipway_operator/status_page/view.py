"""What the page shows of a Model: a bounded part of its status, and nothing of its spec."""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

MAX_VERSIONS: Final = 20
"""A status holds up to 256; the page needs those with pods and the newest of the others."""
MAX_TEXT: Final = 512

_VERSION: Final = ("state", "reason", "message", "since")
_RECORD: Final = (
    "from", "to", "cause", "by", "startedAt", "endedAt", "duration", "outcome", "reason", "message",
)  # fmt: skip


def view(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a Model, as the API server delivers it, that the page shows; of bounded size."""
    metadata = body.get("metadata") or {}
    status = body.get("status") or {}
    versions = list(status.get("versions") or ())
    shown = sorted(sorted(versions, key=_importance)[:MAX_VERSIONS], key=_number, reverse=True)
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    return {
        "namespace": _text(metadata.get("namespace")),
        "name": _text(metadata.get("name")),
        "ready": _text(conditions.get("Ready", "Unknown")),
        "degraded": conditions.get("Degraded") == "True",
        "phase": _text(status.get("phase") or "Starting"),
        "serving": _text(status.get("serving")),
        "target": _text(status.get("target")),
        "pods": _text(status.get("ready")),
        "message": _text(status.get("message")),
        "versions": [_version(one) for one in shown],
        "moreVersions": len(versions) - len(shown),
        "history": [_record(one) for one in (status.get("history") or ())[:10]],
    }


def _version(one: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: _count(one.get(name)) for name in ("weight", "replicas", "readyReplicas")}
    # Text: JavaScript's numbers end at 2^53, versions do not.
    return {"version": _text(one.get("version")), **counts, **_texts(one, _VERSION)}


def _record(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"outageSeconds": _count(one.get("outageSeconds")), **_texts(one, _RECORD)}


def _importance(one: Mapping[str, Any]) -> tuple[bool, int]:
    """Versions with pods or requests first, then the newest."""
    return not (one.get("weight") or one.get("replicas")), -_number(one)


def _number(one: Mapping[str, Any]) -> int:
    return int(one.get("version") or 0)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _texts(one: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    return {name: _text(one.get(name)) for name in names}


def _text(value: object) -> str:
    """One line of bounded length, without characters that hide or reorder others."""
    text = "" if value is None else str(value)
    cut = text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
    return "".join("\N{REPLACEMENT CHARACTER}" if _hides(one) else one for one in cut)


def _hides(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
