"""A Model's rollout as text: all of it, one line for each change, or its history. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from slipway_cli.output import columns, plain
from slipway_cli.rollout.verbs import pinned

_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def describe(model: Mapping[str, Any], now: datetime) -> str:
    """Return everything about a rollout, in several lines."""
    status = _status(model)
    head = [f"{model['metadata']['namespace']}/{model['metadata']['name']}: {_phase(status)}"]
    parts = [
        ("serving", status.get("serving") or "nothing"),
        ("target", status.get("target", "")),
        ("ready", status.get("ready", "")),
        ("rollout", _rollout(status.get("rollout") or {})),
        ("pinned", pinned(model)),
        ("url", status.get("url", "")),
    ]
    head += [f"  {name + ':':<9}{plain(str(value))}" for name, value in parts if value]
    told = (status.get("message"), (status.get("honoured") or {}).get("message"))
    head += [f"  {plain(str(sentence))}" for sentence in dict.fromkeys(told) if sentence]
    rows = [_row(row, now) for row in status.get("versions", ())]
    if rows:
        header = ["VERSION", "STATE", "WEIGHT", "READY", "SINCE", "REASON", "MESSAGE"]
        head += ["", columns(header, rows)]
    return "\n".join(head)


def line(model: Mapping[str, Any]) -> str:
    """Return what a pipe is told of one change."""
    status = _status(model)
    parts = [_phase(status), f"serving {status.get('serving') or 'nothing'}"]
    if status.get("target") and status.get("target") != status.get("serving"):
        parts.append(f"target {status['target']}")
    if status.get("ready"):
        parts.append(f"ready {status['ready']}")
    if status.get("rollout"):
        parts.append(_rollout(status["rollout"]))
    sentence = f": {status['message']}" if status.get("message") else ""
    return plain(f"{model['metadata']['name']}: {', '.join(parts)}{sentence}")


def history(model: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the transitions that the operator remembers, newest first as it wrote them."""
    return [entry for entry in _status(model).get("history") or () if isinstance(entry, dict)]


def history_table(entries: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """Return the transitions, a row each."""
    header = ["FROM", "TO", "STARTED", "DURATION", "OUTCOME", "CAUSE", "BY", "OUTAGE", "REASON"]
    return columns(header, [_transition(entry, now) for entry in entries])


def _transition(entry: Mapping[str, Any], now: datetime) -> list[str]:
    started = age(str(entry.get("startedAt", "")), now)
    outage = entry.get("outageSeconds")
    cells = [
        entry.get("from") or "nothing",
        entry.get("to"),
        f"{started} ago" if started else "",
        entry.get("duration"),
        entry.get("outcome") or "under way",
        entry.get("cause"),
        entry.get("by"),
        f"{outage}s" if outage else "",
        entry.get("reason"),
    ]
    return ["" if cell is None else str(cell) for cell in cells]


def as_json(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `-o json` prints of a rollout."""
    metadata = model["metadata"]
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "generation": metadata.get("generation"),
        "pinned": pinned(model),
        "status": _status(model),
    }


def age(since: str, now: datetime) -> str:
    """Return how long ago a moment was, as kubectl says it.

    >>> age("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 5, 4, 6, tzinfo=UTC))
    '2h'
    """
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return ""
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    seconds = max(0, int((now - then).total_seconds()))
    return next((f"{seconds // size}{unit}" for unit, size in _UNITS if seconds >= size), "0s")


def _row(row: Mapping[str, Any], now: datetime) -> list[str]:
    weight = f"{row['weight']}%" if row.get("weight") else ""
    ready = f"{row.get('readyReplicas', 0)}/{row['replicas']}" if row.get("replicas") else ""
    return [
        str(row.get("version", "")),
        str(row.get("state", "")),
        weight,
        ready,
        age(str(row.get("since", "")), now),
        str(row.get("reason", "")),
        str(row.get("message", "")),
    ]


def _phase(status: Mapping[str, Any]) -> str:
    return str(status.get("phase") or "not looked at by the operator yet")


def _status(model: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = model.get("status") or {}
    return found


def _rollout(rollout: Mapping[str, Any]) -> str:
    """How far the steps of a rollout are."""
    if not rollout:
        return ""
    step, steps = rollout.get("step", 0), rollout.get("steps", 0)
    if step > steps:
        return "all steps are done"
    parts = [f"step {step} of {steps}", f"{rollout.get('weight', 0)}% asked for"]
    if rollout.get("reached") is not None:
        parts.append(f"{rollout['reached']}% reached")
    if rollout.get("waitingFor"):
        parts.append(f"waits for {str(rollout['waitingFor']).lower()}")
    return ", ".join(parts)
