"""The Models that the watch has shown, and who looks at them."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipway_operator.status_page.view import view

MAX_VIEWERS: Final = 20
MAX_MODELS: Final = 2000
"""What one page can show; further ones are counted."""
_LISTING_SECONDS: Final = 60.0
"""A listing has been delivered after so long without another Model of it."""
_PART: Final = 64 * 1024
"""Characters that are handed to a connection at once."""

_Place = tuple[str, str]


class TooManyViewersError(Exception):
    """Every place of a viewer is taken."""


@dataclass(slots=True)
class _Entry:
    uid: str
    text: str
    seen: float


@dataclass(slots=True)
class _Listing:
    """All that one watch shows, Model by Model: when the first of them came, and the last until now."""

    since: float
    last: float


class Viewer:
    """One open page: which Models have changed since it was told of them.

    It holds names and no messages, so that one that does not read costs no memory.
    """

    def __init__(self, board: "Board", places: Iterator[_Place]) -> None:
        self._board = board
        # A dict keeps the order in which things changed, and each once.
        self._dirty: dict[_Place, None] = dict.fromkeys(places)
        self._told = -1
        self._wake = asyncio.Event()

    def changed(self, place: _Place) -> None:
        """Take note of a change."""
        self._dirty[place] = None
        self._wake.set()

    @property
    def is_told(self) -> bool:
        """Whether nothing is new."""
        return not self._dirty

    def wake(self) -> None:
        """Let it look whether the board is closed."""
        self._wake.set()

    async def wait(self, seconds: float) -> None:
        """Return after a change, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def take(self) -> str:
        """A part of what is new, as server-sent events; empty if nothing is."""
        parts: list[str] = []
        size = 0
        while self._dirty and size < _PART:
            place = next(iter(self._dirty))
            del self._dirty[place]
            parts.append(self._board.event(place))
            size += len(parts[-1])
        if not self._dirty:
            self._wake.clear()
            hidden = self._board.hidden
            if hidden != self._told:
                self._told = hidden
                parts.append(f"event: summary\ndata: {json.dumps({'hidden': hidden})}\n\n")
        return "".join(parts)


class Board:
    """The last observed status of every Model.

    Args:
        clock: Monotonic seconds.
        by_namespace: Whether each namespace has a watch, and so listings, of its own.
    """

    def __init__(self, clock: Callable[[], float], *, by_namespace: bool = False) -> None:
        self._clock = clock
        self._by_namespace = by_namespace
        self._models: dict[_Place, _Entry] = {}
        self._viewers: set[Viewer] = set()
        self._over: set[_Place] = set()
        self._listings: dict[str, _Listing] = {}
        self.closed = False

    @property
    def hidden(self) -> int:
        """How many Models the page does not show, because there are too many."""
        return len(self._over)

    def changed(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """Take an event of the watch: its type, None in a listing, and the Model.

        A watch that was cut off for minutes lists all Models anew; those that were deleted meanwhile have no event.
        """
        metadata = body["metadata"]
        self._note_listing(kind, metadata["namespace"] if self._by_namespace else "")
        place, uid = (metadata["namespace"], metadata["name"]), metadata["uid"]
        before = self._models.get(place)
        if kind == "DELETED":
            self._over.discard(place)
            if before is not None and before.uid == uid:
                self._remove(place)
            return
        if before is None and len(self._models) >= MAX_MODELS:
            self._forget()
        if before is None and len(self._models) >= MAX_MODELS:
            self._over.add(place)
            return
        self._over.discard(place)
        text = json.dumps(view(body), ensure_ascii=False, separators=(",", ":"))
        self._models[place] = _Entry(uid, text, self._clock())
        if before is None or before.text != text:
            self._tell(place)

    def event(self, place: _Place) -> str:
        """The server-sent event about a Model as it is now."""
        entry = self._models.get(place)
        if entry is None:
            gone = json.dumps({"namespace": place[0], "name": place[1]})
            return f"event: gone\ndata: {gone}\n\n"
        return f"event: model\ndata: {entry.text}\n\n"

    @contextlib.contextmanager
    def viewer(self) -> Iterator[Viewer]:
        """A place for a viewer, who is told of every Model first.

        Raises:
            TooManyViewersError: There are as many as there may be.
        """
        if len(self._viewers) >= MAX_VIEWERS:
            raise TooManyViewersError
        self._forget()
        viewer = Viewer(self, iter(sorted(self._models)))
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    def close(self) -> None:
        """Let every viewer end."""
        self.closed = True
        for viewer in self._viewers:
            viewer.wake()

    def _note_listing(self, kind: str | None, watch: str) -> None:
        if kind is not None:
            self._forget()
            return
        now = self._clock()
        listing = self._listings.get(watch)
        if listing is None or now - listing.last > _LISTING_SECONDS:
            listing = self._listings[watch] = _Listing(now, now)
        listing.last = now

    def _forget(self) -> None:
        """Remove what the last listing of its watch did not show, once that is over."""
        now = self._clock()
        for watch, listing in tuple(self._listings.items()):
            if now - listing.last <= _LISTING_SECONDS:
                continue
            del self._listings[watch]
            for place, entry in tuple(self._models.items()):
                if entry.seen < listing.since and watch in {"", place[0]}:
                    self._remove(place)

    def _remove(self, place: _Place) -> None:
        del self._models[place]
        self._tell(place)

    def _tell(self, place: _Place) -> None:
        for viewer in self._viewers:
            viewer.changed(place)
