"""The models of the start that are still on their way, and what requests are told meanwhile.

TensorFlow Serving opens no port before each of them is decided, so its clients know a server that is starting by
UNAVAILABLE and try again; NOT_FOUND they take for the truth.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from slipway_server.core.states import Availability, VersionState
from slipway_server.errors import Code, ServingError

_PENDING: Final = frozenset({Availability.START, Availability.LOADING})


class Startup:
    """Knows which of the first models are undecided.

    A model is decided once one of its versions answers, once all have ended and one of them failed, or once it is no
    longer configured; what is decided stays decided, whatever is loaded or unloaded later. A model for which there is
    nothing to load holds up requests for itself only.

    Args:
        states: model → the states of its versions, the highest number first.
    """

    def __init__(self, states: Callable[[str], Sequence[VersionState]]) -> None:
        self._states = states
        self._lock = threading.Lock()
        self._undecided: dict[str, str] = {}

    def begin(self, models: Iterable[str]) -> None:
        """Wait for these models."""
        with self._lock:
            self._undecided = dict.fromkeys(models, "")

    def configured(self, models: Iterable[str]) -> None:
        """Wait for none but these any more."""
        kept = frozenset(models)
        with self._lock:
            self._undecided = {
                model: why for model, why in self._undecided.items() if model in kept
            }

    def hear(self, state: VersionState) -> None:
        """Take in a change of a version's state."""
        if state.model not in self._undecided:
            return
        decided = _decided(self._states(state.model))
        with self._lock:
            if decided:
                self._undecided.pop(state.model, None)
            elif state.model in self._undecided:
                self._undecided[state.model] = ""

    def nothing_found(self, model: str, trouble: ServingError, *, last: bool) -> None:
        """Take in that a look at a base path found nothing to load.

        Args:
            model: the model.
            trouble: why.
            last: there will be no other look.
        """
        if any(state.availability in _PENDING for state in self._states(model)):
            return
        with self._lock:
            if last:
                self._undecided.pop(model, None)
            elif model in self._undecided:
                self._undecided[model] = trouble.message

    def refusal(self, model: str) -> ServingError | None:
        """Return what a request for a model is told that cannot be answered now; None when the start is over for it."""
        with self._lock:
            undecided = dict(self._undecided)
        if not undecided:
            return None
        if model in undecided:
            awaited = model
        elif all(undecided.values()):
            return None
        else:
            awaited = next(other for other, trouble in undecided.items() if not trouble)
        why = self._progress(awaited) or undecided[awaited]
        return ServingError(
            Code.UNAVAILABLE,
            f"the server is starting: {why or f'no version of {awaited} has been found yet'}",
        )

    def _progress(self, model: str) -> str:
        pending = (state for state in self._states(model) if state.availability in _PENDING)
        state = next(pending, None)
        if state is None:
            return ""
        text = f"{model} version {state.version} is being loaded"
        return f"{text}; the last attempt failed: {state.error}" if state.error else text


def _decided(states: Sequence[VersionState]) -> bool:
    if any(state.availability is Availability.AVAILABLE for state in states):
        return True
    pending = any(state.availability in _PENDING for state in states)
    return not pending and any(state.error for state in states)
