"""Brings the loaded versions in line with the aspired ones.

One thread decides and owns all state here; loads and unloads run in threads of their own and report back as events,
so a load that takes minutes, waits for its next attempt or never ends holds up no other model and no request.

    event → forget what is gone → apply aspired lists → due attempts
          → policy: at most one action, an unload before any load; again, until there is none
          → room for those that wait for memory
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

import structlog

from slipway_server.core import tasks
from slipway_server.core.load_retry import Bounds, RetryRule
from slipway_server.core.managed_version import (
    Aspire,
    AspiredVersion,
    Event,
    LoadEnded,
    Loader,
    ManagedModel,
    ManagedVersion,
    Measured,
    Quiesced,
    Unloaded,
)
from slipway_server.core.policies import Policy, Step
from slipway_server.core.resources import MemoryClaim, Room, estimate, room
from slipway_server.core.serving_map import Servable, ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.core.version_state_machine import State, VersionStateMachine
from slipway_server.errors import Code, ServingError

T = TypeVar("T")
Spawn = Callable[[str, Callable[[], None]], None]

_log = structlog.get_logger("slipway_server.manager")
_FOREVER: Final = 3600.0
_CANCELLED: Final = "Loading of servable cancelled"


def _in_thread(name: str, work: Callable[[], None]) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


class Manager(Generic[T]):
    """The aspired-versions manager.

    Args:
        loader: loads and unloads versions.
        serving: the map from which requests are answered.
        monitor: where every change of state is published.
        policy: `core.policies`.
        retry: for loads that failed.
        bounds: what may go on at a time.
        measure: bytes of the files under a directory; only asked where memory is bounded.
        clock: monotonic seconds.
        spawn: runs named work in a thread of its own.
    """

    def __init__(
        self,
        loader: Loader[T],
        serving: ServingMap[T],
        monitor: StateMonitor,
        policy: Policy,
        *,
        retry: RetryRule,
        bounds: Bounds,
        measure: Callable[[str], int] = lambda _path: 0,
        clock: Callable[[], float] = time.monotonic,
        spawn: Spawn = _in_thread,
    ) -> None:
        self._loader = loader
        self._serving = serving
        self._monitor = monitor
        self._policy = policy
        self._retry = retry
        self._bounds = bounds
        self._measure = measure
        self._clock = clock
        self._spawn = spawn
        self._models: dict[str, ManagedModel[T]] = {}
        self._initial = bounds.initial_loads is not None
        self._events: queue.SimpleQueue[Event[T] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="manager", daemon=True)

    def start(self) -> None:
        """Begin to act."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to decide; what is loaded stays loaded. Before `start` it sees to it that nothing is ever decided."""
        self._events.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def aspire(self, model: str, versions: Iterable[AspiredVersion]) -> None:
        """Say which versions of a model should be loaded; replaces what was said before about that model."""
        self._events.put(Aspire(model, tuple(versions)))

    # ---- the deciding thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                event = self._events.get(timeout=self._until_next_attempt())
            except queue.Empty:
                event = None
            else:
                if event is None:
                    return
            try:
                self.decide(event)
            except Exception:  # noqa: BLE001 - a fault with one version must not be the end of all models' changes
                _log.exception("a decision failed")

    def decide(self, event: Event[T] | None) -> None:
        """Take in an event, or that time has passed, and do everything that follows from it.

        Only for the manager's own thread, and for tests that stand in for it.
        """
        if event is not None:
            self._take(event)
        for name, model in list(self._models.items()):
            self._apply_pending(name, model)
            if not model.versions and model.pending is None:
                del self._models[name]
        self._start_due_attempts()
        while action := self._next_action():
            self._execute(*action)
        self._reserve_for_waiting()
        if self._initial and self._first_versions_are_decided():
            self._initial = False

    def _take(self, event: Event[T]) -> None:
        match event:
            case Aspire(model=name, versions=versions):
                self._models.setdefault(name, ManagedModel()).pending = versions
            case Measured():
                self._measured(event.managed, event.file_bytes, event.error)
            case LoadEnded():
                self._load_ended(event.managed, event.content, event.error)
            case Quiesced():
                self._release(event.managed)
            case Unloaded():
                event.managed.state_machine.to(State.DISABLED)
                self._publish(event.managed, Availability.END)
                _log.info("unloaded", model=event.managed.model, version=event.managed.version)

    def _all(self) -> Iterable[ManagedVersion[T]]:
        return (one for model in self._models.values() for one in model.versions.values())

    def _until_next_attempt(self) -> float:
        if not self._may_load():
            return _FOREVER  # The end of a load is an event.
        due = [one.retry_at for one in self._all() if one.retry_at is not None]
        return min(max(min(due) - self._clock(), 0.0), _FOREVER) if due else _FOREVER

    def _may_load(self) -> bool:
        return self._bounds.may_load(self._all(), initial=self._initial)

    def _may_unload(self) -> bool:
        return self._bounds.may_unload(self._all())

    def _first_versions_are_decided(self) -> bool:
        undecided = {State.NEW, State.LOAD_REQUESTED, State.LOAD_APPROVED, State.LOADING}
        states = [one.state for one in self._all()]
        return bool(states) and not undecided & set(states)

    # ---- aspired lists -----------------------------------------------------------------------------------------

    def _apply_pending(self, name: str, model: ManagedModel[T]) -> None:
        model.forget()
        if model.pending is None:
            return
        wanted = {one.version: one for one in model.pending}
        for number, managed in model.versions.items():
            if number not in wanted and managed.aspired:
                managed.aspired = False
                self._abandon(managed)
        model.forget()
        # A version that is wanted again while it is on its way out comes back only after it has gone; until then
        # the whole list waits, so that the policy never sees half of it.
        if any(number in wanted and not one.aspired for number, one in model.versions.items()):
            return
        for number, aspiration in wanted.items():
            known = model.versions.get(number)
            if known and not self._retry.anew(known, aspiration, self._clock()):
                continue
            managed = ManagedVersion[T](
                name, aspiration, VersionStateMachine(f"{name} version {number}")
            )
            model.versions[number] = managed
            self._publish(managed, Availability.START)
        model.pending = None

    def _abandon(self, managed: ManagedVersion[T]) -> None:
        """Do for a version that is no longer aspired what need not wait for the policy or for a thread."""
        if managed.state is State.NEW:
            self._publish(managed, Availability.END)
        elif managed.state is State.LOAD_REQUESTED and not managed.busy:
            self._fail(managed, ServingError(Code.CANCELLED, _CANCELLED))
        elif managed.retry_at is not None and managed.error is not None:
            self._fail(managed, managed.error)

    # ---- actions -----------------------------------------------------------------------------------------------

    def _next_action(self) -> tuple[ManagedVersion[T], Step] | None:
        """Ask the policy about every model; an unload anywhere goes before a load, since it frees memory."""
        actions = [
            (model, action)
            for model in self._models.values()
            if (action := self._policy(model.snapshots()))
        ]
        for step, allowed in ((Step.UNLOAD, self._may_unload), (Step.LOAD, self._may_load)):
            for model, action in actions:
                if action.step is step and allowed():
                    return model.versions[action.version], step
        return None

    def _execute(self, managed: ManagedVersion[T], step: Step) -> None:
        if step is Step.UNLOAD:
            managed.state_machine.to(State.UNLOAD_REQUESTED)
            self._quiesce(managed)
            return
        managed.state_machine.to(State.LOAD_REQUESTED)
        if self._bounds.memory is None:
            managed.memory = 0
            self._approve(managed)
        else:
            self._attempt(managed)

    def _start_due_attempts(self) -> None:
        now = self._clock()
        for managed in list(self._all()):
            if managed.retry_at is not None and managed.retry_at <= now and self._may_load():
                managed.retry_at = None
                self._attempt(managed)

    def _attempt(self, managed: ManagedVersion[T]) -> None:
        """Measure a version that waits for approval, load one that has it."""
        managed.attempts += 1
        managed.busy = True
        managed.started = self._clock()
        if managed.state is State.LOAD_REQUESTED:
            self._aside("measure", managed, lambda: tasks.measure(self._measure, managed))
            return
        _log.info(
            "loading",
            model=managed.model,
            version=managed.version,
            path=managed.aspiration.path,
            attempt=managed.attempts,
        )
        self._aside("load", managed, lambda: tasks.load(self._loader, managed))

    def _reserve_for_waiting(self) -> None:
        """Let begin, in the order of their models, what waited for memory; end what will never have it."""
        for managed in [one for one in self._all() if one.waits_for_memory]:
            if not self._may_load():
                return
            claims = [
                MemoryClaim(one.state, one.memory or 0) for one in self._all() if one is not managed
            ]
            match room(self._bounds.memory or 0, claims, managed.memory or 0):
                case Room.RESERVED:
                    self._approve(managed)
                case Room.INSUFFICIENT:
                    self._fail(
                        managed,
                        ServingError(
                            Code.RESOURCE_EXHAUSTED,
                            f"Insufficient resources to load servable {managed.name}",
                        ),
                    )
                case Room.WAIT:
                    pass

    def _approve(self, managed: ManagedVersion[T]) -> None:
        managed.state_machine.to(State.LOAD_APPROVED)
        managed.error = None
        managed.attempts = 0
        self._publish(managed, Availability.LOADING)
        managed.state_machine.to(State.LOADING)
        self._attempt(managed)

    def _measured(
        self, managed: ManagedVersion[T], file_bytes: int, error: ServingError | None
    ) -> None:
        managed.busy = False
        if error is not None:
            prefix = (
                f"Error while attempting to reserve resources to load servable {managed.name}: "
            )
            self._failed_attempt(managed, ServingError(error.code, prefix + error.message))
        elif not managed.aspired:
            self._fail(managed, ServingError(Code.CANCELLED, _CANCELLED))
        else:
            managed.memory = estimate(file_bytes)

    def _load_ended(
        self, managed: ManagedVersion[T], content: T | None, error: ServingError | None
    ) -> None:
        managed.busy = False
        if error is not None or content is None:
            self._failed_attempt(
                managed, error or ServingError(Code.INTERNAL, "The loader returned nothing")
            )
            return
        about = {
            "model": managed.model,
            "version": managed.version,
            "seconds": round(self._clock() - managed.started, 3),
        }
        managed.servable = Servable(managed.model, managed.version, content)
        managed.error = None
        managed.state_machine.to(State.READY)
        if managed.aspired:
            self._serving.add(managed.servable)
            self._publish(managed, Availability.AVAILABLE)
            _log.info("loaded", **about)
        else:
            managed.error = ServingError(Code.CANCELLED, _CANCELLED)
            _log.info("load cancelled", **about)
            managed.state_machine.to(State.UNLOAD_REQUESTED)
            self._quiesce(managed)

    def _failed_attempt(self, managed: ManagedVersion[T], error: ServingError) -> None:
        managed.error = error
        again = self._retry.again(managed, error)
        _log.error(
            "load failed",
            message=f"Loading servable: {managed.name} failed: {error}",
            model=managed.model,
            version=managed.version,
            seconds=round(self._clock() - managed.started, 3),
            error=str(error),
            attempt=managed.attempts,
            next_attempt_seconds=self._retry.interval if again else None,
        )
        if not again:
            self._fail(managed, error)
            return
        managed.retry_at = self._clock() + max(self._retry.interval, 0.0)
        loading = managed.state is State.LOADING
        self._publish(managed, Availability.LOADING if loading else Availability.START)

    def _fail(self, managed: ManagedVersion[T], error: ServingError) -> None:
        managed.retry_at = None
        managed.error = error
        managed.failed_at = self._clock()
        managed.state_machine.to(State.ERROR)
        self._publish(managed, Availability.END)

    def _quiesce(self, managed: ManagedVersion[T]) -> None:
        servable = managed.servable
        assert servable is not None, "only what was loaded is unloaded"  # noqa: S101 - an invariant of the table
        managed.state_machine.to(State.QUIESCING)
        self._publish(managed, Availability.UNLOADING)
        _log.info("unloading", model=managed.model, version=managed.version)
        self._serving.remove(servable)
        self._aside("quiesce", managed, lambda: tasks.quiesce(servable, managed))

    def _release(self, managed: ManagedVersion[T]) -> None:
        managed.state_machine.to(State.QUIESCED)
        managed.state_machine.to(State.UNLOADING)
        servable, managed.servable = managed.servable, None
        self._aside("unload", managed, lambda: tasks.unload(self._loader, servable, managed))

    def _publish(self, managed: ManagedVersion[T], availability: Availability) -> None:
        self._monitor.publish(
            VersionState(managed.model, managed.version, availability, managed.error)
        )

    def _aside(self, what: str, managed: ManagedVersion[T], task: Callable[[], Event[T]]) -> None:
        self._spawn(f"{what}-{managed.model}-{managed.version}", lambda: self._events.put(task()))
