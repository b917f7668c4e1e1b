"""Leadership by a `coordination.k8s.io/Lease`: only the holder writes.

A holder that cannot renew for RENEW_DEADLINE sends no further write, and every request that it has
sent ends within REQUEST_TIMEOUT; both together are shorter than LEASE_DURATION, after which another
may take over. That holds for a process that was frozen, too: `fence` is asked before each write, by
a clock that goes on while the process, or the machine, is suspended.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from slipway_operator.api.names import GROUP
from slipway_operator.cluster.client import (
    LEASES,
    Client,
    ClusterError,
    ConflictError,
    NotFoundError,
    NotLeadingError,
)

LEADER_ADDRESS: Final = f"{GROUP}/leader-address"
"""Annotation of the Lease: where its holder takes notifications that others pass on."""
LEASE_DURATION: Final = timedelta(seconds=15)
RENEW_DEADLINE: Final = timedelta(seconds=10)
RENEW_INTERVAL: Final = timedelta(seconds=3)

_log = structlog.get_logger()


class LeadershipLostError(Exception):
    """The Lease could not be renewed in time, or another has it: stop writing at once."""


def _uptime() -> float:
    """Seconds since the machine was started, those that it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _microtime(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def can_take(spec: dict[str, Any], identity: str, seen_unchanged_for: timedelta) -> bool:
    """Whether a Lease is free, ours, or has not been renewed for its duration.

    Args:
        spec: `spec` of the Lease as the API server holds it.
        identity: What this process writes as `holderIdentity`.
        seen_unchanged_for: How long this process has watched it stand still; clocks of two
            machines are never compared.
    """
    holder = spec.get("holderIdentity") or ""
    if holder in ("", identity):
        return True
    duration = timedelta(seconds=spec.get("leaseDurationSeconds") or 0)
    return seen_unchanged_for > max(duration, LEASE_DURATION)


class Leadership:
    """Takes the Lease, keeps it, and says when it is lost."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        address: str = "",
        elapsed: Callable[[], float] = _uptime,
    ) -> None:
        """Take part in a Lease.

        Args:
            client: Of the API server.
            namespace: Of the Lease.
            name: Of the Lease.
            identity: What this process writes as `holderIdentity`.
            clock: The time, for people who read the Lease.
            address: `http://IP:PORT` where the others reach this process, kept on the Lease.
            elapsed: Seconds that never jump: a clock that is set must make nobody lead beside
                another, nor beyond its time.
        """
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._elapsed = elapsed
        self._seen: tuple[str, float] = ("", elapsed())
        self._renewed = elapsed()
        self._address = address
        self.leader = ""
        """Where the one that holds the Lease is reached, as last seen; empty when it does not say."""
        self.held = asyncio.Event()
        self.lost = False
        """Whether the Lease was held and is not any more: the process must end."""

    def fence(self) -> None:
        """Let a write pass only while no other replica can hold the Lease.

        Raises:
            NotLeadingError: The Lease is not held, or was last renewed RENEW_DEADLINE ago.
        """
        if not self.held.is_set():
            raise NotLeadingError(f"not written: this process does not hold the Lease {self._name}")
        age = self._elapsed() - self._renewed
        if age >= RENEW_DEADLINE.total_seconds():
            raise NotLeadingError(
                f"not written: the Lease {self._name} was renewed {age:.0f} s ago, and another "
                "replica may hold it"
            )

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        while True:
            try:
                if await self._try():
                    self.held.set()
                    _log.info("leading", lease=self._name, identity=self._identity)
                    return
            except ClusterError as error:
                _log.warning("lease not reachable", error=str(error))
            await asyncio.sleep(RENEW_INTERVAL.total_seconds())

    async def keep(self) -> None:
        """Renew until it fails.

        Raises:
            LeadershipLostError: Always, at the end.
        """
        try:
            while True:
                # A request that hangs must not add its own time to the deadline.
                left = self._renewed + RENEW_DEADLINE.total_seconds() - self._elapsed()
                async with asyncio.timeout(left):
                    await asyncio.sleep(RENEW_INTERVAL.total_seconds())
                    if not await self._renew():
                        self._lose()
                        raise LeadershipLostError(f"another holds the Lease {self._name}")
        except TimeoutError as error:
            self._lose()
            raise LeadershipLostError(
                f"the Lease {self._name} could not be renewed in time"
            ) from error

    def _lose(self) -> None:
        self.lost = True
        self.held.clear()

    async def _renew(self) -> bool:
        """False when another has it; an API server that does not answer is asked again."""
        try:
            return await self._try()
        except ClusterError as error:
            _log.warning("lease not renewed", error=str(error))
            return True

    async def release(self) -> None:
        """Give it up, so that the other replica need not wait."""
        if not self.held.is_set():
            return
        self.held.clear()
        try:
            lease = await self._client.get(LEASES, self._namespace, self._name)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._client.replace(LEASES, self._namespace, lease)
        except ClusterError as error:
            _log.warning("lease not released", error=str(error))

    async def _try(self) -> bool:
        """Create, take or renew it."""
        now = self._clock()
        try:
            lease = await self._client.get(LEASES, self._namespace, self._name)
        except NotFoundError:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": self._name,
                    "namespace": self._namespace,
                    "annotations": {LEADER_ADDRESS: self._address},
                },
                "spec": self._spec({}, now),
            }
            return await self._written(self._client.create(LEASES, self._namespace, lease))
        spec = lease["spec"]
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, self._elapsed())
        annotations = lease["metadata"].setdefault("annotations", {})
        self.leader = annotations.get(LEADER_ADDRESS, "") if spec.get("holderIdentity") else ""
        unchanged = timedelta(seconds=self._elapsed() - self._seen[1])
        if not can_take(spec, self._identity, unchanged):
            return False
        annotations[LEADER_ADDRESS] = self.leader = self._address
        lease["spec"] = self._spec(spec, now)
        return await self._written(self._client.replace(LEASES, self._namespace, lease))

    async def _written(self, write: Awaitable[object]) -> bool:
        """Others count from the write, so this process does not count from its answer."""
        sent = self._elapsed()
        try:
            await write
        except ConflictError:
            return False
        self._renewed = sent
        return True

    def _spec(self, spec: dict[str, Any], now: datetime) -> dict[str, Any]:
        same = spec.get("holderIdentity") == self._identity
        transitions = spec.get("leaseTransitions") or 0
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(LEASE_DURATION.total_seconds()),
            "acquireTime": spec.get("acquireTime") if same else _microtime(now),
            "renewTime": _microtime(now),
            "leaseTransitions": transitions if same else transitions + 1,
        }
