"""What is said of a version that the annotation slipway.dev/rollback pins."""

from typing import Final

from slipway_operator.api.verbs import Verb
from slipway_operator.planning.decision import Decision

_MOST: Final = 5
"""Versions that a message names."""


def pin_message(decision: Decision) -> str:
    """That a version is pinned, and which ones wait; empty when none is."""
    pinned = decision.observed.verbs.pinned
    if pinned is None:
        return ""
    newer = sorted((version for version in decision.listed if version > pinned), reverse=True)
    named = ", ".join(str(version) for version in newer[:_MOST])
    if more := len(newer) - _MOST:
        named += f" and {more} more" if more > 0 else ""
    noun = "version" if len(newer) == 1 else "versions"
    waits = f"{noun} {named}" if newer else "newer versions"
    verb = "waits" if len(newer) == 1 else "wait"
    return f"{_pins(pinned)}: {waits} {verb} until it is removed"


def missing_message(decision: Decision) -> str:
    """That the pinned version is not in the source, and what goes on; empty when it is, or may be."""
    pinned, source = decision.observed.verbs.pinned, decision.observed.source
    if pinned is None or not source.polled or source.error_reason:
        return ""
    if pinned in decision.listed or decision.desired.of(pinned):
        return ""
    serving = "; what serves goes on" if decision.endpoints else ""
    return (
        f"{_pins(pinned)}, which is not in the source{serving}: upload it, name another version, or "
        "remove the annotation"
    )


def _pins(version: int) -> str:
    return f"annotation {Verb.ROLLBACK.annotation} pins version {version}"
