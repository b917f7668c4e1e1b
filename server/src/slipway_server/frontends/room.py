"""Memory that requests may take together beyond what was sent: what they decompress, parse and repeat."""

import threading
import time
from collections import deque
from types import TracebackType
from typing import Final, Self

from slipway_server.errors import deadline_exceeded


class Room:
    """A number of bytes, given out in the order of asking.

    Args:
        limit: bytes given out at a time. More than that is given to one request, when no other has any.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._row: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """Bytes that are given out now."""
        return self._used

    def take(self, size: int, deadline: float | None = None) -> "Share":
        """Return so many bytes; waits until they are free.

        Whoever has a share must not ask for another one: two such would wait for each other.

        Args:
            size: bytes; for none nobody waits.
            deadline: in monotonic seconds; None waits for ever.

        Raises:
            ServingError: DEADLINE_EXCEEDED.
        """
        if not size:
            return _NOTHING
        with self._changed:
            ticket = object()
            self._row.append(ticket)
            try:
                left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
                if not self._changed.wait_for(lambda: self._fits(ticket, size), left):
                    raise deadline_exceeded()
                self._used += size
            finally:
                self._row.remove(ticket)
                self._changed.notify_all()
        return Share(self, size)

    def _fits(self, ticket: object, size: int) -> bool:
        free = not self._used or self._used + size <= self._limit
        return free and self._row[0] is ticket

    def give_back(self, size: int) -> None:
        """Take back what a share had (`Share.close`)."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()


class Share:
    """Bytes of a room, until the end of the `with` block or until `close`, whichever is first."""

    __slots__ = ("_room", "_size")

    def __init__(self, room: Room | None, size: int) -> None:
        self._room = room
        self._size = size

    def close(self) -> None:
        """Give the bytes back."""
        if self._room is not None:
            room, self._room = self._room, None
            room.give_back(self._size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


_NOTHING: Final = Share(None, 0)
