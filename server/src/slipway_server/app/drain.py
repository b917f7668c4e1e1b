"""When a drain is over: when no client has a connection any more, or its time is up.

Pure but for `Drain.wait`, which is given its clock and its eyes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

QUIET_SECONDS: Final = 1.0
"""A proxy that still leads here is noticed within these: its clients connect anew when they are told to."""

_LOOK_SECONDS: Final = 0.1
_SHARE_OF_LOOKING: Final = 0.1
"""Of the time, for a machine with very many sockets."""


@dataclass(frozen=True, slots=True)
class DrainLimits:
    """How long a drain takes, in seconds.

    Attributes:
        least: until every proxy has learnt that requests go elsewhere; no longer than `most`.
        most: the end, whoever is still there.
        quiet: for so long there must have been no connection.
    """

    least: float
    most: float
    quiet: float = QUIET_SECONDS


@dataclass(frozen=True, slots=True)
class Clients:
    """Those who are served now.

    Attributes:
        connections: that are open; None where the system does not tell.
        requests: that have ever been begun; shows connections that came and went between two looks.
    """

    connections: int | None
    requests: int = 0


def verdict(
    limits: DrainLimits, elapsed: float, connections: int | None, none_since: float | None
) -> str | None:
    """Return why the drain is over, or None while it goes on.

    Args:
        limits: what was configured.
        elapsed: seconds since the drain began.
        connections: that are open; None when unknown.
        none_since: after how many seconds of the drain the last client was gone; None while there is one.

    >>> limits = DrainLimits(least=3, most=12, quiet=1)
    >>> verdict(limits, 3.5, 0, 2.0)
    >>> verdict(limits, 4.2, 0, 2.0)
    'no connection left after 4.2 s'
    >>> verdict(limits, 12, 1, None)
    'drain_seconds over with 1 connection'
    """
    if elapsed < limits.most:
        if none_since is not None and elapsed >= max(none_since, limits.least) + limits.quiet:
            return f"no connection left after {elapsed:.1f} s"
        return None
    if connections is None:
        return "drain_seconds over; how many connections are open cannot be told"
    return f"drain_seconds over with {connections} connection{'' if connections == 1 else 's'}"


class Drain:
    """One drain, which begins now.

    Args:
        look: who is served; called again and again once `limits.least` is over.
        interrupted: waits for some seconds; True when it is to end at once.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        limits: DrainLimits,
        look: Callable[[], Clients],
        interrupted: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._look = look
        self._interrupted = interrupted
        self._clock = clock
        self._began = clock()

    def wait(self) -> str:
        """Wait until the drain is over, and return why it is."""
        pause = min(self._limits.least, self._limits.most)
        requests = -1
        none_since: float | None = None
        while True:
            if pause > 0 and self._interrupted(pause):
                return "cut short by a second interrupt"
            began = self._elapsed()
            clients = self._look()
            elapsed = self._elapsed()
            if clients.connections != 0:
                none_since = None
            elif none_since is None or clients.requests != requests:
                none_since = elapsed
            requests = clients.requests
            reason = verdict(self._limits, elapsed, clients.connections, none_since)
            if reason is not None:
                return reason
            pause = max(_LOOK_SECONDS, (elapsed - began) / _SHARE_OF_LOOKING)
            pause = min(pause, max(self._limits.most - elapsed, 0))

    def _elapsed(self) -> float:
        return self._clock() - self._began
