"""Which loads may begin now, and which are tried again. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from slipway_server.core.managed_version import AspiredVersion, ManagedVersion
from slipway_server.core.version_state_machine import State
from slipway_server.errors import ServingError

_LEAVING: Final = frozenset({State.QUIESCING, State.QUIESCED, State.UNLOADING})


@dataclass(frozen=True, slots=True)
class RetryRule:
    """When a load that failed is tried again.

    Attributes:
        max_retries: attempts after the first one.
        interval: seconds between attempts.
        permanent_errors: whether also when the error says that the export itself is wrong.
        failed_versions: when all attempts have failed and the version is still aspired, begin anew, with the same
            interval between; otherwise only a change of its directory does that.
    """

    max_retries: int = 5
    interval: float = 60.0
    permanent_errors: bool = False
    failed_versions: bool = False

    def again(self, managed: ManagedVersion[Any], error: ServingError) -> bool:
        """Whether an attempt that failed with this error is followed by another."""
        return (
            managed.aspired
            and (error.transient or self.permanent_errors)
            and managed.attempts <= self.max_retries
        )

    def anew(self, managed: ManagedVersion[Any], aspiration: AspiredVersion, now: float) -> bool:
        """Whether a version whose attempts have all failed begins anew when it is aspired again."""
        if managed.state is not State.ERROR:
            return False
        if managed.aspiration.fingerprint != aspiration.fingerprint:
            return True
        return self.failed_versions and now - managed.failed_at >= self.interval


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may go on at a time, over all models.

    Attributes:
        loads: attempts to load.
        initial_loads: the same until the first versions have all been loaded or have failed; None means `loads`.
        unloads: versions on their way out, those waiting for their last request included; None means any number.
        memory: bytes that all versions together are taken to need at most (`core.resources`); None means any.
    """

    loads: int = 1
    initial_loads: int | None = None
    unloads: int | None = None
    memory: int | None = None

    def may_load(self, versions: Iterable[ManagedVersion[Any]], *, initial: bool) -> bool:
        """Whether one more attempt may begin beside those of `versions`; `initial` before the first ones ended."""
        bound = self.initial_loads if initial and self.initial_loads is not None else self.loads
        return sum(one.busy for one in versions) < bound

    def may_unload(self, versions: Iterable[ManagedVersion[Any]]) -> bool:
        """Whether one more version may begin to unload."""
        return self.unloads is None or sum(one.state in _LEAVING for one in versions) < self.unloads
