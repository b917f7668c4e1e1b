"""Intervals of canaries: when each began, and what the servers had counted then.

It is kept in memory: after a restart, in the middle of an interval, the interval begins anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
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
"""Seconds for all pods of a Model together, however many do not answer: its plan waits for them."""
_LONGEST: Final = 900
"""Characters of why counts are missing: it goes into the status, next to other sentences."""


@dataclass(slots=True)
class _Running:
    """The interval under way of one Model.

    Attributes:
        about: Canary, stable servable and step.
        began: What each pod's server had counted when it began, by the pod's uid.
        ended: The interval before, until a plan with it is in the status.
    """

    about: tuple[str, str, int]
    since: datetime
    began: Mapping[str, Counters]
    ended: Interval | None = None


class Samples:
    """Knows the interval under way of every Model that has one."""

    def __init__(self, read: Read, clock: Callable[[], datetime]) -> None:
        self._read = read
        self._clock = clock
        self._running: dict[str, _Running] = {}

    async def add(self, observed: Observed) -> Observed:
        """The snapshot with the interval of its canary's analysis."""
        uid, about = observed.model.uid, _about(observed)
        spec = observed.model.spec.rollout
        if about is None or spec is None or spec.analysis is None:
            self._running.pop(uid, None)
            return observed
        running = self._running.get(uid)
        if running is None or running.about != about:
            counts, _ = await self._counts(observed, about)
            running = self._running[uid] = _Running(about, self._clock(), counts)
        elif running.ended is None and self._clock() >= running.since + parse_duration(
            spec.analysis.interval
        ):
            await self._end(observed, running)
        now = running.ended or Interval(about[0], about[2], running.since)
        return replace(observed, interval=now)

    def taken(self, uid: str) -> None:
        """A plan with the interval that has ended is in the status, or none can be made with it."""
        if (running := self._running.get(uid)) is not None:
            running.ended = None

    def forget(self, uid: str) -> None:
        """The Model is gone."""
        self._running.pop(uid, None)

    async def _end(self, observed: Observed, running: _Running) -> None:
        """Compare what is counted now with the beginning; the next interval begins."""
        canary, stable, step = running.about
        counts, unread = await self._counts(observed, running.about)
        until = self._clock()
        total = dict.fromkeys((canary, stable), Counters())
        for pod in observed.pods:
            if pod.uid in counts and pod.servable in total:
                before = running.began.get(pod.uid)
                if before is None and pod.created_at <= running.since:
                    continue  # It was there and could not be read: its counts are older than the interval.
                grown = counts[pod.uid].since(before or Counters())
                total[pod.servable] = total[pod.servable].plus(grown)
        running.ended = Interval(
            canary, step, running.since, until, total[canary], total[stable], unread
        )
        running.since, running.began = until, counts

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


def _about(observed: Observed) -> tuple[str, str, int] | None:
    """What is compared in which step; None when nothing is, or its pods do not take requests yet."""
    rollout = observed.model.status.rollout
    if rollout is None or not is_held(rollout) or not rollout.reached_at:
        return None
    if observed.model.spec.paused or not observed.model.spec.serving.replicas:
        return None
    return canary_of(rollout), stable_of(rollout), rollout.step
