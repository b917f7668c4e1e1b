"""Intervals of canaries: when each began, and what the servers had counted then.

A plan asks for counts, and does not wait for them: they are read by a schedule of their own, so that servers
that do not answer hold up no reconcile. It is kept in memory: after a restart, in the middle of an interval,
the interval begins anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from slipway_operator.api.quantities import parse_duration
from slipway_operator.model.analysis import Counters, Interval
from slipway_operator.model.observed import Observed, Pod
from slipway_operator.planning.rollout.record import canary_of, is_held, stable_of
from slipway_operator.reconcile.analysis.scrape import ScrapeError, brief

Read = Callable[[Pod, str], Awaitable[Counters]]
"""Reads what the server of a pod has counted, for a model's name."""

_MOST_NAMED: Final = 3
_AT_ONCE: Final = 8
"""Pods of one Model: servers that do not answer leave room for those of others."""
_DEADLINE: Final = 6.0
"""Seconds for all pods of a Model together, however many do not answer: its analysis waits for them."""
_LONGEST: Final = 900
"""Characters of why counts are missing: it goes into the status, next to other sentences."""


@dataclass(slots=True)
class _Running:
    """The interval under way of one Model.

    Attributes:
        about: Canary, stable servable and step.
        asked: The snapshot whose pods are to be read, or are being read; None when nobody asks.
        since: When it began; None until its pods were read for the first time.
        began: What each pod's server had counted when it began, by the pod's uid.
        follows: Whether the one before it ended in this process, and is in the status.
        ended: The interval before, until a plan with it is in the status.
    """

    about: tuple[str, str, int]
    asked: Observed | None
    since: datetime | None = None
    began: Mapping[str, Counters] = field(default_factory=dict)
    follows: bool = False
    ended: Interval | None = None


class Samples:
    """Knows the interval under way of every Model that has one."""

    def __init__(self, read: Read, clock: Callable[[], datetime]) -> None:
        self._read = read
        self._clock = clock
        self._running: dict[str, _Running] = {}

    def add(self, observed: Observed) -> Observed:
        """The snapshot with the interval of its canary's analysis; it may ask for what only `read` can tell."""
        uid, about = observed.model.uid, _about(observed)
        spec = observed.model.spec.rollout
        if about is None or spec is None or spec.analysis is None:
            self._running.pop(uid, None)
            return observed
        running = self._running.get(uid)
        if running is None or running.about != about:
            self._running[uid] = _Running(about, observed)
            return observed
        if running.since is None:
            return observed
        interval = parse_duration(spec.analysis.interval)
        idle = running.ended is None and running.asked is None
        if idle and self._clock() >= running.since + interval:
            running.asked = observed
        now = running.ended or Interval(
            about[0],
            about[2],
            running.since,
            reading=running.asked is not None,
            follows=running.follows,
        )
        return replace(observed, interval=now)

    def asks(self, uid: str) -> bool:
        """Whether `read` has something to do for a Model."""
        running = self._running.get(uid)
        return running is not None and running.asked is not None

    async def read(self, uid: str) -> bool:
        """Read what was asked for: an interval ends, and the next one begins.

        Returns:
            Whether anything was.
        """
        running = self._running.get(uid)
        if running is None or running.asked is None:
            return False
        # What is asked of meanwhile, such as another step, has an entry of its own, and is read next.
        counts, unread = await self._counts(running.asked, running.about)
        until = self._clock()
        if running.since is not None:
            running.ended = _interval(running, running.since, until, counts, unread)
            running.follows = True
        running.since, running.began, running.asked = until, counts, None
        return True

    def taken(self, observed: Observed, *, told: bool = True) -> None:
        """A plan with an interval that has ended is in the status, or none can be made with it.

        One that has ended since the snapshot was made is kept: no plan has seen it.

        Args:
            observed: What the plan was made of.
            told: Whether the plan is in the status.
        """
        running = self._running.get(observed.model.uid)
        if running is not None and running.ended is not None and running.ended is observed.interval:
            running.ended = None
            running.follows = running.follows and told

    def forget(self, uid: str) -> None:
        """The Model is gone."""
        self._running.pop(uid, None)

    async def _counts(
        self, observed: Observed, about: tuple[str, str, int]
    ) -> tuple[dict[str, Counters], str]:
        """What each ready pod of both versions has counted, and why some could not be read."""
        pods = [p for p in observed.pods if p.ready and p.servable in about[:2]]
        name = observed.model.model_name
        room = asyncio.Semaphore(_AT_ONCE)
        deadline = asyncio.get_running_loop().time() + _DEADLINE

        async def one(pod: Pod) -> Counters:
            try:
                async with asyncio.timeout_at(deadline), room:
                    return await self._read(pod, name)
            except TimeoutError as error:
                reason = f"not all {len(pods)} pods were read within {_DEADLINE:g} s"
                raise ScrapeError(reason) from error

        read = await asyncio.gather(*map(one, pods), return_exceptions=True)
        counts: dict[str, Counters] = {}
        unread = []
        for pod, found in zip(pods, read, strict=True):
            if isinstance(found, Counters):
                counts[pod.uid] = found
            elif isinstance(found, ScrapeError):
                unread.append(f"the metrics of pod {pod.name} could not be read: {found}")
            else:
                raise found
        return counts, brief("; ".join(unread[:_MOST_NAMED]), _LONGEST)


def _interval(
    running: _Running,
    since: datetime,
    until: datetime,
    counts: Mapping[str, Counters],
    unread: str,
) -> Interval:
    """What came between the beginning of an interval and what is counted at its end."""
    canary, stable, step = running.about
    total = dict.fromkeys((canary, stable), Counters())
    for pod in running.asked.pods if running.asked else ():
        if pod.uid in counts and pod.servable in total:
            before = running.began.get(pod.uid)
            if before is None and pod.created_at <= since:
                continue  # It was there and could not be read: its counts are older than the interval.
            grown = counts[pod.uid].since(before or Counters())
            total[pod.servable] = total[pod.servable].plus(grown)
    return Interval(canary, step, since, until, total[canary], total[stable], unread)


def _about(observed: Observed) -> tuple[str, str, int] | None:
    """What is compared in which step; None when nothing is, or its pods do not take requests yet."""
    rollout = observed.model.status.rollout
    if rollout is None or not is_held(rollout) or not rollout.reached_at:
        return None
    if observed.model.spec.paused or not observed.model.spec.serving.replicas:
        return None
    return canary_of(rollout), stable_of(rollout), rollout.step
