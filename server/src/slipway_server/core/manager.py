"""Brings the loaded versions in line with the aspired ones.

One thread decides and owns all state here; loads and unloads run in threads of their own and report back as events,
so a load that takes minutes, waits for its next attempt or never ends holds up no other model and no request.

    events → forget what is gone → apply aspired lists → due retries → policy → at most one action, again until none
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

import structlog

from slipway_server.core.harness import FORGETTABLE, Lifecycle, State
from slipway_server.core.policies import Action, Policy, Snapshot, Step
from slipway_server.core.serving_map import Servable, ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.errors import Code, ServingError

T = TypeVar("T")

_log = structlog.get_logger("slipway_server.manager")
_FOREVER: Final = 3600.0


class Loader(Protocol[T]):
    """Turns a directory into something that answers requests, and back into free memory."""

    def load(self, model: str, version: int, path: str) -> T:
        """Load a version; may take minutes.

        Raises:
            ServingError: its code decides whether the load is tried again (`ServingError.transient`).
        """
        ...

    def unload(self, content: T) -> None:
        """Release what `load` returned. Nobody uses it any more."""
        ...


@dataclass(frozen=True, slots=True)
class AspiredVersion:
    """A version that should be loaded.

    Attributes:
        path: the version's directory.
        fingerprint: changes when the directory's content does; a failed version is tried again then.
    """

    version: int
    path: str
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often, and after how many seconds, a load that failed for a passing reason is tried again."""

    max_retries: int = 5
    interval: float = 60.0


@dataclass(slots=True)
class _Managed(Generic[T]):
    model: str
    aspiration: AspiredVersion
    lifecycle: Lifecycle
    aspired: bool = True
    attempts: int = 0
    retry_at: float | None = None
    started: float = 0.0
    error: ServingError | None = None
    servable: Servable[T] | None = None

    @property
    def version(self) -> int:
        return self.aspiration.version

    @property
    def state(self) -> State:
        return self.lifecycle.state


@dataclass(frozen=True, slots=True)
class _Aspire:
    model: str
    versions: tuple[AspiredVersion, ...]


@dataclass(frozen=True, slots=True)
class _LoadEnded(Generic[T]):
    managed: _Managed[T]
    content: T | None
    error: ServingError | None


@dataclass(frozen=True, slots=True)
class _Quiesced(Generic[T]):
    managed: _Managed[T]


@dataclass(frozen=True, slots=True)
class _Unloaded(Generic[T]):
    managed: _Managed[T]


@dataclass(slots=True)
class _Model(Generic[T]):
    versions: dict[int, _Managed[T]] = field(default_factory=dict)
    pending: tuple[AspiredVersion, ...] | None = None


class Manager(Generic[T]):
    """The aspired-versions manager.

    Args:
        loader: loads and unloads versions.
        serving: the map from which requests are answered.
        monitor: where every change of state is published.
        policy: `core.policies`.
        retry: for loads that failed for a passing reason.
        parallel_loads: loads at a time over all models.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        loader: Loader[T],
        serving: ServingMap[T],
        monitor: StateMonitor,
        policy: Policy,
        *,
        retry: RetryRule,
        parallel_loads: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loader = loader
        self._serving = serving
        self._monitor = monitor
        self._policy = policy
        self._retry = retry
        self._parallel_loads = parallel_loads
        self._clock = clock
        self._models: dict[str, _Model[T]] = {}
        self._events: queue.SimpleQueue[
            _Aspire | _LoadEnded[T] | _Quiesced[T] | _Unloaded[T] | None
        ] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="manager", daemon=True)

    def start(self) -> None:
        """Begin to act."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to decide; what is loaded stays loaded."""
        self._events.put(None)
        self._thread.join()

    def aspire(self, model: str, versions: Iterable[AspiredVersion]) -> None:
        """Say which versions of a model should be loaded; replaces what was said before about that model."""
        self._events.put(_Aspire(model, tuple(versions)))

    # ---- the deciding thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._take_events():
            for model in self._models.values():
                _forget(model)
            for name, model in self._models.items():
                self._apply_pending(name, model)
            self._start_due_retries()
            while action := self._next_action():
                self._execute(*action)

    def _take_events(self) -> bool:
        try:
            event = self._events.get(timeout=self._until_next_retry())
        except queue.Empty:
            return True
        match event:
            case None:
                return False
            case _Aspire(model=model, versions=versions):
                self._models.setdefault(model, _Model()).pending = versions
            case _LoadEnded():
                self._load_ended(event.managed, event.content, event.error)
            case _Quiesced():
                self._release(event.managed)
            case _Unloaded():
                event.managed.lifecycle.to(State.DISABLED)
                self._publish(event.managed, Availability.END)
                _log.info("unloaded", model=event.managed.model, version=event.managed.version)
        return True

    def _until_next_retry(self) -> float:
        due = [one.retry_at for one in self._all() if one.retry_at is not None]
        return min(max(min(due) - self._clock(), 0.0), _FOREVER) if due else _FOREVER

    def _all(self) -> Iterable[_Managed[T]]:
        return (one for model in self._models.values() for one in model.versions.values())

    def _apply_pending(self, name: str, model: _Model[T]) -> None:
        if model.pending is None:
            return
        wanted = {one.version: one for one in model.pending}
        for number, managed in list(model.versions.items()):
            if number not in wanted and managed.aspired:
                managed.aspired = False
                self._abandon_retry(managed)
        _forget(model)
        # A version that is wanted again while it is on its way out comes back only after it has gone; until then
        # the whole list waits, so that the policy never sees half of it.
        if any(number in wanted and not one.aspired for number, one in model.versions.items()):
            return
        for number, aspiration in wanted.items():
            known = model.versions.get(number)
            if known and not _worth_another_life(known, aspiration):
                continue
            managed = _Managed[T](name, aspiration, Lifecycle(f"{name} version {number}"))
            model.versions[number] = managed
            self._publish(managed, Availability.START)
        model.pending = None

    def _abandon_retry(self, managed: _Managed[T]) -> None:
        if managed.retry_at is not None:
            managed.retry_at = None
            managed.lifecycle.to(State.ERROR)
            self._publish(managed, Availability.END)
        elif managed.state is State.NEW:
            self._publish(managed, Availability.END)

    def _start_due_retries(self) -> None:
        now = self._clock()
        for managed in self._all():
            if managed.retry_at is not None and managed.retry_at <= now:
                managed.retry_at = None
                self._attempt(managed)

    def _next_action(self) -> tuple[_Managed[T], Step] | None:
        """Ask the policy about every model; an unload anywhere goes before a load, since it frees memory."""
        actions: list[tuple[_Model[T], Action]] = []
        for model in self._models.values():
            snapshots = [
                Snapshot(one.version, one.state, one.aspired) for one in model.versions.values()
            ]
            if action := self._policy(snapshots):
                actions.append((model, action))
        loading = sum(one.state is State.LOADING for one in self._all())
        for step in (Step.UNLOAD, Step.LOAD):
            if step is Step.LOAD and loading >= self._parallel_loads:
                continue
            for model, action in actions:
                if action.step is step:
                    return model.versions[action.version], step
        return None

    def _execute(self, managed: _Managed[T], step: Step) -> None:
        if step is Step.LOAD:
            managed.lifecycle.to(State.LOAD_REQUESTED)
            managed.lifecycle.to(State.LOAD_APPROVED)
            self._publish(managed, Availability.LOADING)
            managed.lifecycle.to(State.LOADING)
            self._attempt(managed)
        else:
            managed.lifecycle.to(State.UNLOAD_REQUESTED)
            self._quiesce(managed)

    def _attempt(self, managed: _Managed[T]) -> None:
        managed.attempts += 1
        managed.started = self._clock()
        _log.info(
            "loading",
            model=managed.model,
            version=managed.version,
            path=managed.aspiration.path,
            attempt=managed.attempts,
        )
        _in_thread(f"load-{managed.model}-{managed.version}", lambda: self._load(managed))

    def _load_ended(
        self, managed: _Managed[T], content: T | None, error: ServingError | None
    ) -> None:
        seconds = round(self._clock() - managed.started, 3)
        about = {"model": managed.model, "version": managed.version, "seconds": seconds}
        if error is None and content is not None:
            managed.servable = Servable(managed.model, managed.version, content)
            managed.error = None
            managed.lifecycle.to(State.READY)
            if managed.aspired:
                self._serving.add(managed.servable)
                self._publish(managed, Availability.AVAILABLE)
                _log.info("loaded", **about)
            else:
                managed.error = ServingError(Code.CANCELLED, "Loading of servable cancelled")
                _log.info("load cancelled", **about)
                managed.lifecycle.to(State.UNLOAD_REQUESTED)
                self._quiesce(managed)
            return
        managed.error = error or ServingError(Code.INTERNAL, "The loader returned nothing")
        again = (
            managed.aspired
            and managed.error.transient
            and managed.attempts <= self._retry.max_retries
        )
        _log.error(
            "load failed",
            **about,
            error=str(managed.error),
            attempt=managed.attempts,
            next_attempt_seconds=self._retry.interval if again else None,
        )
        if again:
            managed.retry_at = self._clock() + max(self._retry.interval, 0.0)
            self._publish(managed, Availability.LOADING)
        else:
            managed.lifecycle.to(State.ERROR)
            self._publish(managed, Availability.END)

    def _quiesce(self, managed: _Managed[T]) -> None:
        servable = managed.servable
        assert servable is not None, "only what was loaded is unloaded"  # noqa: S101 - an invariant of the table
        managed.lifecycle.to(State.QUIESCING)
        self._publish(managed, Availability.UNLOADING)
        _log.info("unloading", model=managed.model, version=managed.version)
        self._serving.remove(servable)

        def wait() -> None:
            servable.close()
            self._events.put(_Quiesced(managed))

        _in_thread(f"quiesce-{managed.model}-{managed.version}", wait)

    def _release(self, managed: _Managed[T]) -> None:
        managed.lifecycle.to(State.QUIESCED)
        managed.lifecycle.to(State.UNLOADING)
        servable, managed.servable = managed.servable, None

        def unload() -> None:
            try:
                if servable is not None:
                    self._loader.unload(servable.content)
            except Exception as error:  # noqa: BLE001 - whatever it was, the version is out of use and must end
                _log.warning(
                    "unload failed", model=managed.model, version=managed.version, error=str(error)
                )
            self._events.put(_Unloaded(managed))

        _in_thread(f"unload-{managed.model}-{managed.version}", unload)

    def _publish(self, managed: _Managed[T], availability: Availability) -> None:
        self._monitor.publish(
            VersionState(managed.model, managed.version, availability, managed.error)
        )

    # ---- load threads ------------------------------------------------------------------------------------------

    def _load(self, managed: _Managed[T]) -> None:
        content: T | None = None
        error: ServingError | None = None
        try:
            content = self._loader.load(managed.model, managed.version, managed.aspiration.path)
        except ServingError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - a loader's bug must not leave the version Loading for ever
            error = ServingError(Code.INTERNAL, f"{type(failure).__name__}: {failure}")
        self._events.put(_LoadEnded(managed, content, error))


def _forget(model: _Model[T]) -> None:
    for number, managed in list(model.versions.items()):
        if not managed.aspired and managed.state in FORGETTABLE:
            del model.versions[number]


def _worth_another_life(known: _Managed[T], aspiration: AspiredVersion) -> bool:
    """Whether a failed version's directory has changed since, so that a new attempt can end differently."""
    return known.state is State.ERROR and known.aspiration.fingerprint != aspiration.fingerprint


def _in_thread(name: str, work: Callable[[], None]) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()
