"""Which models are served, and how that changes at run time.

    check → replace what is configured → labels → versions to look for → wait for the models that are new

A change is wholly refused or wholly made; only the wait, which is outside the lock and bounded, may still tell of a
failure afterwards. The file and the gRPC method both come here.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from slipway_server.control.platforms import PLATFORMS, check_supported
from slipway_server.core.availability_waiter import AvailabilityWaiter
from slipway_server.core.labels import LabelRule, check_labels
from slipway_server.core.serving_map import ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.errors import ServingError, invalid_argument
from slipway_server.storage.source import ModelConfig, VersionSource

T = TypeVar("T")

Confine = Callable[[tuple[ModelConfig, ...]], tuple[ModelConfig, ...]]

_log = structlog.get_logger("slipway_server.config")


@dataclass(frozen=True, slots=True)
class ReloadRule:
    """How changes are made.

    Attributes:
        labels: which labels may be set.
        timeout: seconds that a change waits for its new models; 0 waits for none of them.
        fail_without_versions: when a new model has no version, that alone is the error.
        platforms: kinds of models that can be served without a plug-in.
    """

    labels: LabelRule = field(default_factory=LabelRule)
    timeout: float = 300.0
    fail_without_versions: bool = False
    platforms: frozenset[str] = PLATFORMS


class ConfiguredModels:
    """The models that are configured now.

    Args:
        source: is told which models to watch.
        serving: is told the labels.
        monitor: tells what becomes of versions.
        changed: is told the names of all models before a change to them takes effect.
    """

    def __init__(
        self,
        source: VersionSource,
        serving: ServingMap[T],
        monitor: StateMonitor,
        rule: ReloadRule,
        *,
        changed: Callable[[Iterable[str]], None] = lambda _names: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._set_labels = serving.set_labels
        self._labels = serving.labels
        self._monitor = monitor
        self._rule = rule
        self._changed = changed
        self._clock = clock
        self._lock = threading.Lock()
        self._configs: tuple[ModelConfig, ...] = ()
        self._waiters: set[AvailabilityWaiter] = set()
        self._configured = False
        monitor.listen(self._hear)

    @property
    def configured(self) -> bool:
        """Whether there was a list of models, be it an empty one."""
        return self._configured

    @property
    def configs(self) -> tuple[ModelConfig, ...]:
        """What is configured now, in the order of the file."""
        return self._configs

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the configured models."""
        return tuple(config.name for config in self._configs)

    def nothing_found(self, model: str, trouble: ServingError) -> None:
        """Take in that a look at a base path found nothing to load."""
        for waiter in tuple(self._waiters):
            waiter.hear_trouble(model, trouble)

    def waiter(self, names: Iterable[str]) -> AvailabilityWaiter:
        """Begin to hear what becomes of some models."""
        waiter = AvailabilityWaiter(names)
        self._waiters.add(waiter)
        return waiter

    def apply(self, configs: tuple[ModelConfig, ...]) -> None:
        """Serve these models from now on, without waiting for any.

        Raises:
            ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION; nothing has changed then.
        """
        with self._lock:
            self._apply(configs)

    def apply_and_wait(
        self,
        configs: tuple[ModelConfig, ...],
        deadline: float | None,
        *,
        confine: Confine = lambda configs: configs,
    ) -> None:
        """Serve these models from now on, and wait until each one that is new answers or will not.

        Args:
            configs: all models.
            deadline: when the caller stops to listen, in monotonic seconds.
            confine: refuses what the caller may not ask for, of a list that is right otherwise, and binds the rest.

        Raises:
            ServingError: as `apply`; or UNKNOWN when a new model does not answer, though the change was made.
        """
        with self._lock:
            waiter = self.waiter({config.name for config in configs} - set(self.names))
            try:
                self._apply(configs, confine)
            except BaseException:
                self._waiters.discard(waiter)
                raise
        limit = self._clock() + self._rule.timeout
        try:
            if self._rule.timeout > 0:
                waiter.wait(limit if deadline is None else min(limit, deadline), self._clock)
        except ServingError:
            if self._rule.fail_without_versions and waiter.troubles:
                raise min(waiter.troubles.items())[1] from None
            raise
        finally:
            self._waiters.discard(waiter)

    def _apply(
        self,
        configs: tuple[ModelConfig, ...],
        confine: Confine = lambda configs: configs,
    ) -> None:
        check_platforms(self._configs, configs)
        labels = {config.name: dict(config.labels) for config in configs}
        check_labels(labels, self._labels(), self._available, self._rule.labels)
        check_supported(configs, self._rule.platforms)
        configs = confine(configs)
        before = set(self.names)
        self._configs = configs
        self._configured = True
        self._changed(self.names)
        self._set_labels(labels)
        self._source.update(configs)
        _log.info(
            "models configured",
            models=len(configs),
            added=sorted(set(self.names) - before),
            removed=sorted(before - set(self.names)),
        )

    def _available(self, model: str, version: int) -> bool:
        return any(
            state.version == version and state.availability is Availability.AVAILABLE
            for state in self._monitor.of(model)
        )

    def _hear(self, state: VersionState) -> None:
        for waiter in tuple(self._waiters):
            waiter.hear(state)


def check_platforms(before: Iterable[ModelConfig], after: Iterable[ModelConfig]) -> None:
    """Refuse to change what kind of model a name stands for.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    known = {config.name: config.platform for config in before}
    for config in after:
        platform = known.get(config.name, config.platform)
        if platform != config.platform:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {config.name} platform was {platform} and new "
                f"platform requested is {config.platform}"
            )
