"""The life of one version as a guarded table.

    NEW → LOAD_REQUESTED → LOAD_APPROVED → LOADING → READY
        → UNLOAD_REQUESTED → QUIESCING → QUIESCED → UNLOADING → DISABLED;   any but the two ends → ERROR

The table is the only place that says what may follow what. What readers of the status API see is another, coarser
type (`core.states`).
"""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a version stands in its life."""

    NEW = "New"
    """Known and wanted; nothing has been done for it."""
    LOAD_REQUESTED = "LoadRequested"
    """The policy chose it."""
    LOAD_APPROVED = "LoadApproved"
    """There is room for it."""
    LOADING = "Loading"
    """Its files are being read, or the next attempt at that is due."""
    READY = "Ready"
    """It answers requests."""
    UNLOAD_REQUESTED = "UnloadRequested"
    """The policy wants it gone."""
    QUIESCING = "Quiescing"
    """No new request reaches it; those in flight finish."""
    QUIESCED = "Quiesced"
    """Nobody uses it."""
    UNLOADING = "Unloading"
    """Its memory is being released."""
    DISABLED = "Disabled"
    """Gone."""
    ERROR = "Error"
    """It could not be loaded."""


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.NEW: frozenset({State.LOAD_REQUESTED, State.ERROR}),
    State.LOAD_REQUESTED: frozenset({State.LOAD_APPROVED, State.ERROR}),
    State.LOAD_APPROVED: frozenset({State.LOADING, State.ERROR}),
    State.LOADING: frozenset({State.READY, State.ERROR}),
    State.READY: frozenset({State.UNLOAD_REQUESTED, State.ERROR}),
    State.UNLOAD_REQUESTED: frozenset({State.QUIESCING, State.ERROR}),
    State.QUIESCING: frozenset({State.QUIESCED, State.ERROR}),
    State.QUIESCED: frozenset({State.UNLOADING, State.ERROR}),
    State.UNLOADING: frozenset({State.DISABLED, State.ERROR}),
    State.DISABLED: frozenset(),
    State.ERROR: frozenset(),
}

FORGETTABLE: Final = frozenset({State.NEW, State.DISABLED, State.ERROR})
"""A version that is no longer aspired may be forgotten in these states: it holds nothing."""


class IllegalTransitionError(Exception):
    """A version was asked to do what its state does not allow; the message tells its whole history."""


class VersionStateMachine:
    """The state of one version and how it came there."""

    __slots__ = ("_history", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._history = [State.NEW]

    @property
    def state(self) -> State:
        """The last state of the history."""
        return self._history[-1]

    def to(self, following: State) -> None:
        """Go on to another state.

        Raises:
            IllegalTransitionError: the table has no such step.
        """
        if following not in TRANSITIONS[self.state]:
            story = " → ".join(self._history)
            raise IllegalTransitionError(
                f"{self._name}: {self.state} may not be followed by {following}; its history: {story}"
            )
        self._history.append(following)
