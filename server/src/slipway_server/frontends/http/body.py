"""The body of the request that is arriving on a connection: its pieces, its size, its share of the budget."""

from typing import Final

from slipway_server.frontends.http.budget import SMALL, BodyBudget, Sender
from slipway_server.frontends.http.messages import HttpRequest

_MAX_PIECES: Final = 1024
"""Pieces of a body that are kept apart. Sent in chunks of two bytes, it would else cost twenty times its size."""

_MAX_APART: Final = 1 << 20
"""Bytes of pieces that are kept apart: joined once at the end, they are copied once. A larger body grows in one block,
which goes back to the system when it is freed; thousands of pieces would leave holes in the heap."""


class ArrivingBody:
    """Collects a body; empty again after `complete` and `drop`.

    Each call names the connection that sends, which the budget may hold up. It is not kept: connection and body would
    keep each other until the garbage collector comes by.

    Attributes:
        size: bytes so far.
    """

    __slots__ = ("_budget", "_gathered", "_pieces", "size")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._pieces: list[bytes] = []
        self._gathered = bytearray()
        self.size = 0

    def add(self, sender: Sender, piece: bytes) -> None:
        """Append a piece; many small ones are joined."""
        before = self.size
        self.size += len(piece)
        self._pieces.append(piece)
        if len(self._pieces) >= _MAX_PIECES or self.size > _MAX_APART:
            self._gathered += b"".join(self._pieces)
            self._pieces = []
        if self.size > SMALL:
            # What came before the body was large is counted with its first large piece.
            self._budget.arrived(sender, len(piece) if before > SMALL else self.size)

    def complete(self, sender: Sender, request: HttpRequest) -> None:
        """Give the body to its request, and its share of the budget with it."""
        pieces = self._pieces
        if self._gathered:
            self._gathered += b"".join(pieces)
            request.body = bytes(self._gathered)
        else:
            request.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self.size > SMALL:
            request.counted, request.budget = self._budget.completed(sender), self._budget
        self._clear()

    def drop(self, sender: Sender) -> None:
        """Forget what has arrived."""
        if self.size > SMALL:
            self._budget.dropped(sender)
        self._clear()

    def _clear(self) -> None:
        self._pieces = []
        self.size = 0
        if self._gathered:
            self._gathered = bytearray()
