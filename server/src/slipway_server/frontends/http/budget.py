"""What the bodies of all HTTP requests together may take while they arrive and until they are answered.

A connection that sends a large body tells the budget of every piece, and is told to stop reading when the bodies of all
are at the limit. So that of many half-sent bodies one always gets on, the one that has been arriving for the longest
is read beyond the limit as long as what is complete stays below it: all together never exceed the limit by more than
one body. Who is first in that row and dawdles, while others are kept waiting, loses the place.

On the event loop's thread only.
"""

from dataclasses import dataclass
from typing import Final, Protocol

SMALL: Final = 64 << 10
"""Bodies up to so many bytes are neither counted nor held up: bounded by the number of connections and requests."""

_PATIENCE: Final = 10.0
"""Seconds in which the first of a row may be as slow as it likes."""
_PACE: Final = 1 << 20
"""Bytes a second that it must have sent since, if others wait."""


class Sender(Protocol):
    """A connection on which a body arrives."""

    def hold(self) -> None:
        """Read nothing more."""
        ...

    def go_on(self) -> None:
        """Read again."""
        ...

    def give_way(self) -> None:
        """Give up the body: it comes too slowly, and others need its place."""
        ...


@dataclass(slots=True)
class _Arrival:
    """A body that is not complete.

    Attributes:
        size: bytes so far.
        held: whether its connection was told to stop.
        first_since: when it became the first in the row, in monotonic seconds.
        first_size: how many bytes it had then.
    """

    size: int = 0
    held: bool = False
    first_since: float | None = None
    first_size: int = 0


class BodyBudget:
    """Counts the bytes of large bodies, and holds up those who send them.

    Args:
        limit: bytes of all bodies, complete or not.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arriving: dict[Sender, _Arrival] = {}
        self._partial = 0
        self._complete = 0

    @property
    def held(self) -> int:
        """Bytes that are counted now."""
        return self._partial + self._complete

    def arrived(self, sender: Sender, size: int) -> None:
        """Count further bytes of a body."""
        arrival = self._arriving.setdefault(sender, _Arrival())
        arrival.size += size
        self._partial += size
        if not arrival.held and not self._may_read(sender):
            arrival.held = True
            sender.hold()

    def completed(self, sender: Sender) -> int:
        """Return how many bytes of the sender's body are counted; they stay so until they are `released`."""
        arrival = self._arriving.pop(sender, None)
        if arrival is None:
            return 0
        self._partial -= arrival.size
        self._complete += arrival.size
        self._let_go_on()
        return arrival.size

    def dropped(self, sender: Sender) -> None:
        """Forget a body that will never be complete."""
        arrival = self._arriving.pop(sender, None)
        if arrival is not None:
            self._partial -= arrival.size
            self._let_go_on()

    def released(self, size: int) -> None:
        """Forget a complete body."""
        self._complete -= size
        self._let_go_on()

    def sweep(self, now: float) -> None:
        """Take its place from the first in the row when it is too slow and others wait; called every second or so."""
        first = next(iter(self._arriving), None)
        if first is None:
            return
        arrival = self._arriving[first]
        if arrival.first_since is None or arrival.held:
            arrival.first_since, arrival.first_size = now, arrival.size
            return
        seconds = now - arrival.first_since - _PATIENCE
        slow = seconds > 0 and arrival.size - arrival.first_size < seconds * _PACE
        if slow and any(one.held for one in self._arriving.values()):
            first.give_way()

    def _may_read(self, sender: Sender) -> bool:
        if self.held < self._limit:
            return True
        return self._complete < self._limit and sender is next(iter(self._arriving))

    def _let_go_on(self) -> None:
        # What each of them reads is counted before the next one is asked: a copy, since they come and go meanwhile.
        for sender, arrival in tuple(self._arriving.items()):
            if arrival.held and self._may_read(sender):
                arrival.held = False
                sender.go_on()
