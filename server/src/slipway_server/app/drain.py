"""When a drain is over: no client is connected any more, or drain_seconds have passed.

`verdict` decides; `Drain.wait` counts and waits, with a clock and a count of clients that are arguments.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

QUIET_SECONDS: Final = 1.0
"""A proxy that still sends clients here is noticed within this time, since its clients have to reconnect."""

_POLL_SECONDS: Final = 0.1
_MAX_POLL_SHARE: Final = 0.1
"""Share of the time that counting may take, where there are very many sockets."""


@dataclass(frozen=True, slots=True)
class DrainLimits:
    """How long a drain may take, in seconds.

    Attributes:
        least: until every proxy has removed the server's endpoint; no longer than `most`. The default is 3: kube-proxy
            batches changes for up to a second (minSyncPeriod), the EndpointSlice controller before it usually takes
            well below one; the rest is margin. A proxy that is later still is noticed: its clients connect.
        most: the drain ends after this time in any case.
        quiet: how long no client must have been connected.
    """

    least: float
    most: float
    quiet: float = QUIET_SECONDS


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of the server at one moment.

    Attributes:
        connections: number of open connections; None if unknown.
        requests: number of requests since the start; it reveals connections that came and went between two polls.
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
        connections: number of open connections; None if unknown.
        none_since: when the last client left, in seconds since the drain began; None while there is one.

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
        return "drain_seconds over; the number of open connections is unknown"
    return f"drain_seconds over with {connections} connection{'' if connections == 1 else 's'}"


class Drain:
    """One drain, which begins now.

    Args:
        look: counts the clients; polled once `limits.least` is over.
        interrupted: waits for some seconds; returns True early if the drain must end at once.
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
            pause = max(_POLL_SECONDS, (elapsed - began) / _MAX_POLL_SHARE)
            pause = min(pause, max(self._limits.most - elapsed, 0))

    def _elapsed(self) -> float:
        return self._clock() - self._began
