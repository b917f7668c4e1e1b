"""What a person asks of a rollout, as annotations `slipway.dev/VERB` of the Model. Pure.

Each value names a version, so that the same command twice asks for the same thing once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from slipway_cli.errors import UsageError

GROUP: Final = "slipway.dev"
_SERVED: Final = frozenset({"Available", "Draining", "Retired", "SourceGone"})


class Verb(StrEnum):
    """What can be asked."""

    PROMOTE = "promote"
    APPROVE = "approve"
    ABORT = "abort"
    RETRY = "retry"
    ROLLBACK = "rollback"

    @property
    def annotation(self) -> str:
        """Name of the annotation."""
        return f"{GROUP}/{self.value}"


def value_for(verb: Verb, model: Mapping[str, Any], version: int | None, step: int | None) -> str:
    """Return the annotation's value.

    Args:
        verb: What is asked.
        model: The Model as the API server has it.
        version: Of what; None for the one that is obviously meant.
        step: The last step to approve; None for the one that waits.

    Raises:
        UsageError: It is not obvious, or the Model has no such version.
    """
    meant = version if version is not None else _meant(verb, model)
    _known(model, meant)
    if verb is Verb.APPROVE:
        return f"{meant}/{step if step is not None else _waiting_step(model, meant)}"
    if verb in {Verb.ABORT, Verb.RETRY}:
        return _next_number(verb, model, meant)
    return str(meant)


def pinned(model: Mapping[str, Any]) -> str:
    """Return the version that a rollback pins, "" where none does."""
    return str(_annotations(model).get(Verb.ROLLBACK.annotation, ""))


def _meant(verb: Verb, model: Mapping[str, Any]) -> int:
    status = model.get("status") or {}
    name = model["metadata"]["name"]
    rows = [row for row in status.get("versions", ()) if isinstance(row, dict)]
    if verb is Verb.ROLLBACK:
        serving = max((row["version"] for row in rows if row.get("weight")), default=None)
        before = [
            row["version"]
            for row in rows
            if row.get("state") in _SERVED and serving is not None and row["version"] < serving
        ]
        if not before:
            raise UsageError(
                f"{name}: no earlier version has served; name the one to serve with --to"
            )
        return int(max(before))
    if verb is Verb.RETRY:
        failed = [row["version"] for row in rows if row.get("state") in {"Failed", "RolledBack"}]
        failed += [row["version"] for row in rows if row.get("reason") == "Aborted"]
        if failed:
            return int(max(failed))
    if verb in {Verb.PROMOTE, Verb.APPROVE} and status.get("rollout"):
        return int(status["rollout"]["version"])
    target = str(status.get("target", ""))
    if not target.isdecimal():
        raise UsageError(f"{name} has no single target version now; name one with --version")
    return int(target)


def _known(model: Mapping[str, Any], version: int) -> None:
    rows = (model.get("status") or {}).get("versions", ())
    known = sorted(row["version"] for row in rows if isinstance(row, dict))
    if known and version not in known:
        shown = ", ".join(map(str, known[-10:]))
        raise UsageError(f"{model['metadata']['name']} has no version {version}: it has {shown}")


def _waiting_step(model: Mapping[str, Any], version: int) -> int:
    rollout = (model.get("status") or {}).get("rollout") or {}
    name = model["metadata"]["name"]
    if rollout.get("version") != version:
        raise UsageError(
            f"{name}: no rollout of version {version} in steps is under way; name a step of one to come with --step"
        )
    step = int(rollout["step"])
    if step > rollout["steps"]:
        raise UsageError(
            f"{name}: version {version} has done all its steps: there is nothing to approve"
        )
    return step


def _next_number(verb: Verb, model: Mapping[str, Any], version: int) -> str:
    """`VERSION`, or `VERSION/NUMBER` where that was asked for and acted on before."""
    acted = str(((model.get("status") or {}).get("honoured") or {}).get(verb.value, ""))
    asked = str(_annotations(model).get(verb.annotation, ""))
    same = [_number(text) for text in (acted,) if text.partition("/")[0] == str(version)]
    if not same:
        return asked if asked.partition("/")[0] == str(version) else str(version)
    if asked.partition("/")[0] == str(version) and _number(asked) not in same:
        return asked  # It is still to be acted on.
    return f"{version}/{max(same) + 1}"


def _number(text: str) -> int:
    number = text.partition("/")[2] or "1"
    return int(number) if number.isdecimal() else 1


def _annotations(model: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = model["metadata"].get("annotations") or {}
    return found
