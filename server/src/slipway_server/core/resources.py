"""Is there room for one more version? Pure.

One resource is counted, main memory, and it is counted by estimate: what a version needs is taken to be 1.2 times the
size of its files. The sum over all versions that hold or are about to hold memory must not exceed the limit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from slipway_server.core.version_state_machine import State

MEMORY_PER_FILE_BYTE: Final = Fraction(12, 10)

HOLDING: Final = frozenset(
    {
        State.LOAD_APPROVED,
        State.LOADING,
        State.READY,
        State.UNLOAD_REQUESTED,
        State.QUIESCING,
        State.QUIESCED,
        State.UNLOADING,
    }
)
"""A version in one of these states has a claim to its memory."""

_MOVING: Final = HOLDING - {State.READY}


@dataclass(frozen=True, slots=True)
class MemoryClaim:
    """What one version of any model holds, in bytes."""

    state: State
    memory: int


class Room(StrEnum):
    """Whether a version may be loaded."""

    RESERVED = "reserved"
    WAIT = "wait"
    """Not now; a load or unload that is under way may make room."""
    INSUFFICIENT = "insufficient"
    """Nothing that is under way can change that there is no room."""


def estimate(file_bytes: int) -> int:
    """Return the bytes of memory that a version with so many bytes of files is taken to need.

    >>> estimate(1000)
    1200
    """
    return int(file_bytes * MEMORY_PER_FILE_BYTE)


def room(limit: int, claims: Iterable[MemoryClaim], needed: int) -> Room:
    """Judge whether `needed` bytes fit beside the claims of all other versions.

    >>> room(100, [MemoryClaim(State.READY, 60)], 40)
    <Room.RESERVED: 'reserved'>
    >>> room(100, [MemoryClaim(State.UNLOADING, 60)], 41)
    <Room.WAIT: 'wait'>
    >>> room(100, [MemoryClaim(State.READY, 60)], 41)
    <Room.INSUFFICIENT: 'insufficient'>
    """
    held = [claim for claim in claims if claim.state in HOLDING]
    if sum(claim.memory for claim in held) + needed <= limit:
        return Room.RESERVED
    if any(claim.state in _MOVING for claim in held):
        return Room.WAIT
    return Room.INSUFFICIENT
