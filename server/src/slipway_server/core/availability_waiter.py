"""Waits until it is known of some models whether they will answer."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from slipway_server.core.states import Availability, VersionState
from slipway_server.errors import Code, ServingError

_PENDING: Final = frozenset({Availability.START, Availability.LOADING})


class AvailabilityWaiter:
    """Hears what becomes of some models from its beginning on.

    A model is decided when one of its versions is available, when all that were begun have ended and at least one of
    them with an error, or when there is nothing to load for it.

    Attributes:
        troubles: model → why there is nothing to load.
    """

    def __init__(self, models: Iterable[str]) -> None:
        self._changed = threading.Condition()
        self._heard: dict[str, dict[int, VersionState]] = {model: {} for model in models}
        self.troubles: dict[str, ServingError] = {}

    def hear(self, state: VersionState) -> None:
        """Take in a published state; those of other models are ignored."""
        if state.model in self._heard:
            with self._changed:
                self._heard[state.model][state.version] = state
                self.troubles.pop(state.model, None)
                self._changed.notify_all()

    def hear_trouble(self, model: str, trouble: ServingError) -> None:
        """Take in that a look at a base path found nothing to load."""
        if model in self._heard:
            with self._changed:
                self.troubles[model] = trouble
                self._changed.notify_all()

    def wait(
        self,
        until: float | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        noun: str = "model(s)",
    ) -> None:
        """Wait until every model is decided.

        Args:
            until: when to give up, in monotonic seconds; None waits as long as it takes.
            clock: monotonic seconds.
            noun: what TensorFlow Serving calls them on this occasion.

        Raises:
            ServingError: UNKNOWN; the sentence names each model that does not answer, and why.
        """
        with self._changed:
            left = None if until is None else min(max(until - clock(), 0.0), threading.TIMEOUT_MAX)
            self._changed.wait_for(lambda: all(map(self._decided, self._heard)), left)
            failures = [
                failure for model in sorted(self._heard) if (failure := self._failure(model))
            ]
        if failures:
            listed = "".join(f"{failure}, " for failure in failures)
            raise ServingError(
                Code.UNKNOWN, f"{len(failures)} {noun} did not become available: {{{listed}}}"
            )

    def _decided(self, model: str) -> bool:
        states = self._heard[model].values()
        return (
            model in self.troubles
            or any(state.availability is Availability.AVAILABLE for state in states)
            or (
                any(state.error for state in states)
                and not any(state.availability in _PENDING for state in states)
            )
        )

    def _failure(self, model: str) -> str:
        heard = self._heard[model]
        if any(state.availability is Availability.AVAILABLE for state in heard.values()):
            return ""
        failed = [state for state in heard.values() if state.error]
        pending = [state for state in heard.values() if state.availability in _PENDING]
        if model in self.troubles:
            return f"{{name: {model}}} due to error: {self.troubles[model]}"
        if failed or pending:
            state = max(failed or pending, key=lambda one: one.version)
            why = state.error or f"DEADLINE_EXCEEDED: it is still {state.availability.name}"
            return f"{{name: {model} version: {state.version}}} due to error: {why}"
        return f"{{name: {model}}} due to error: DEADLINE_EXCEEDED: no version started to load"
