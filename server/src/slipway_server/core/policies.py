"""The two aspired-version policies: which one version of a model to load or unload next.

Both are pure and stateless; asking twice about the same snapshots gives the same answer.

    availability preserving   the last version that answers requests stays until a wanted one answers
    resource preserving       everything unwanted is gone before anything new is loaded
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from slipway_server.core.version_state_machine import State


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a policy may know about one managed version."""

    version: int
    state: State
    aspired: bool


class Step(StrEnum):
    """What to do with a version."""

    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True, slots=True)
class Action:
    """One step for one version."""

    step: Step
    version: int


Policy = Callable[[Sequence[Snapshot]], Action | None]


def availability_preserving(managed: Sequence[Snapshot]) -> Action | None:
    """Choose the next action so that a version which answers is never given up before another one does.

    >>> availability_preserving([Snapshot(1, State.READY, False), Snapshot(2, State.NEW, True)])
    Action(step=<Step.LOAD: 'load'>, version=2)
    >>> availability_preserving([Snapshot(1, State.READY, False), Snapshot(2, State.READY, True)])
    Action(step=<Step.UNLOAD: 'unload'>, version=1)
    """
    aspired = [one for one in managed if one.aspired]
    aspired_serving = any(one.state is State.READY for one in aspired)
    unwanted = [one.version for one in managed if not one.aspired and one.state is State.READY]
    if unwanted and (not aspired or aspired_serving or len(unwanted) > 1):
        return Action(Step.UNLOAD, min(unwanted))
    return _load_highest_new(aspired)


def resource_preserving(managed: Sequence[Snapshot]) -> Action | None:
    """Choose the next action so that old and new versions are never in memory together.

    >>> resource_preserving([Snapshot(1, State.UNLOADING, False), Snapshot(2, State.NEW, True)])
    >>> resource_preserving([Snapshot(1, State.DISABLED, False), Snapshot(2, State.NEW, True)])
    Action(step=<Step.LOAD: 'load'>, version=2)
    """
    unwanted = [one for one in managed if not one.aspired]
    for one in unwanted:
        if one.state is State.READY:
            return Action(Step.UNLOAD, one.version)
    if any(one.state not in {State.DISABLED, State.ERROR} for one in unwanted):
        return None
    return _load_highest_new([one for one in managed if one.aspired])


def _load_highest_new(aspired: Sequence[Snapshot]) -> Action | None:
    new = [one.version for one in aspired if one.state is State.NEW]
    return Action(Step.LOAD, max(new)) if new else None


POLICIES: Final[dict[str, Policy]] = {
    "availability_preserving": availability_preserving,
    "resource_preserving": resource_preserving,
}
