"""What the outside may know about versions, and the board on which it is published."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import structlog

from slipway_server.errors import ServingError

_log: Final = structlog.get_logger("slipway_server.manager")


class Availability(IntEnum):
    """The states of the status API, with their wire numbers."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True)
class VersionState:
    """The published state of one version.

    Attributes:
        error: why it ended, when it did not end as it should; also the last failed attempt while another is due.
    """

    model: str
    version: int
    availability: Availability
    error: ServingError | None = None


Listener = Callable[[VersionState], None]


class StateMonitor:
    """Keeps the newest state of every version for the life of the process and tells listeners of each change.

    AVAILABLE is published after the version can answer, UNLOADING before it stops to. Listeners run on the
    publisher's thread, in order, and must be quick; one that fails is logged and keeps the state from nobody else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, dict[int, VersionState]] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every state published from now on."""
        with self._lock:
            self._listeners.append(listener)

    def publish(self, state: VersionState) -> None:
        """Record a state and tell the listeners, on this thread, in the order in which they came."""
        with self._lock:
            self._states.setdefault(state.model, {})[state.version] = state
            listeners = tuple(self._listeners)
        for listener in listeners:
            try:
                listener(state)
            except Exception:  # noqa: BLE001 - whose thread this is has more to do than to tell
                _log.exception("a listener failed", model=state.model, version=state.version)

    def of(self, model: str) -> tuple[VersionState, ...]:
        """Return the states of a model's versions, the highest number first."""
        with self._lock:
            states = self._states.get(model, {})
            return tuple(states[number] for number in sorted(states, reverse=True))

    def available(self, model: str) -> bool:
        """Whether at least one version of the model answers requests."""
        return any(state.availability is Availability.AVAILABLE for state in self.of(model))
