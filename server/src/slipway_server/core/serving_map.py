"""Who answers requests: an immutable map that is swapped whole, and handles that keep a version alive in use.

Request threads read the map without a lock; only the manager's thread writes it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType, TracebackType
from typing import Generic, Protocol, Self, TypeVar

from slipway_server.errors import Code, ServingError, invalid_argument, not_found

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Selector:
    """Which version of which model a request asks for; neither version nor label means the newest one."""

    model: str
    version: int | None = None
    label: str | None = None


class OutsideUse(Protocol):
    """A count of those who use a version without this process's interpreter (`frontends.native`)."""

    @property
    def users(self) -> int:
        """How many requests hold the version now."""
        ...

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new users and wait until the last one has gone; False when the timeout (seconds) passed first."""
        ...


class Servable(Generic[T]):
    """A loaded version with a count of those who use it.

    Attributes:
        outside: counts further users of the same content, if there can be any.
    """

    def __init__(self, model: str, version: int, content: T) -> None:
        self.outside: OutsideUse | None = None
        self.model = model
        self.version = version
        self.content = content
        # The requests' way takes the bare lock: the condition's own `with` is Python.
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._users = 0
        self._closed = False

    def acquire(self) -> bool:
        """Begin to use the content; False when it is already on its way out."""
        with self._lock:
            if self._closed:
                return False
            self._users += 1
            return True

    @property
    def users(self) -> int:
        """How many requests hold the content now."""
        return self._users + (self.outside.users if self.outside else 0)

    def release(self) -> None:
        """End the use that a successful `acquire` began."""
        with self._lock:
            self._users -= 1
            if self._closed and self._users == 0:
                self._condition.notify_all()

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new users and wait until the last one has gone; False when the timeout (seconds) passed first."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            self._closed = True
            if not self._condition.wait_for(lambda: self._users == 0, timeout):
                return False
        if self.outside is None:
            return True
        return self.outside.close(None if end is None else max(end - time.monotonic(), 0.0))


class Handle(Generic[T_co]):
    """One use of a servable, ended by leaving the `with` block."""

    __slots__ = ("_servable", "content", "model", "version")

    def __init__(self, servable: Servable[T_co]) -> None:
        self._servable = servable
        self.content = servable.content
        self.model = servable.model
        self.version = servable.version

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._servable.release()


@dataclass(frozen=True, slots=True)
class _Versions(Generic[T]):
    by_number: Mapping[int, Servable[T]]
    newest: Servable[T]


class ServingObserver(Protocol[T]):
    """Is told of every change of a serving map, on the thread that makes it, before it returns."""

    def added(self, servable: Servable[T]) -> None:
        """A version answers requests from now on."""
        ...

    def removed(self, servable: Servable[T]) -> None:
        """A version answers no new request."""
        ...

    def labelled(self, labels: Mapping[str, Mapping[str, int]]) -> None:
        """These are the version labels of all models from now on."""
        ...


class ServingMap(Generic[T]):
    """Finds the version that answers a request.

    Args:
        absent_version_hint: what to say after TensorFlow Serving's own words when a version is asked for that does
            not answer here, e.g. where to find it instead.
        starting: returns why a model does not answer yet; None means that it is not going to.
        observer: who answers requests beside this map, and has to know the same.
    """

    def __init__(
        self,
        absent_version_hint: str = "",
        starting: Callable[[str], ServingError | None] = lambda _model: None,
        observer: ServingObserver[T] | None = None,
    ) -> None:
        self._absent_version_hint = absent_version_hint
        self._starting = starting
        self._observer = observer
        self._models: Mapping[str, _Versions[T]] = MappingProxyType({})
        self._labels: Mapping[str, Mapping[str, int]] | None = None

    def set_labels(self, labels: Mapping[str, Mapping[str, int]]) -> None:
        """Replace the version labels of all models: model → label → version."""
        self._labels = MappingProxyType({model: dict(of) for model, of in labels.items()})
        if self._observer is not None:
            self._observer.labelled(self._labels)

    def labels(self) -> Mapping[str, Mapping[str, int]]:
        """Return model → label → version."""
        return self._labels or {}

    def add(self, servable: Servable[T]) -> None:
        """Let a version answer requests."""
        known = self._models.get(servable.model)
        numbers = dict(known.by_number) if known else {}
        numbers[servable.version] = servable
        if self._observer is not None:
            self._observer.added(servable)
        self._replace(servable.model, numbers)

    def remove(self, servable: Servable[T]) -> None:
        """Let a version answer no new request; those who hold a handle go on."""
        known = self._models.get(servable.model)
        if known and known.by_number.get(servable.version) is servable:
            numbers = dict(known.by_number)
            del numbers[servable.version]
            self._replace(servable.model, numbers)
            if self._observer is not None:
                self._observer.removed(servable)

    def versions(self, model: str) -> tuple[int, ...]:
        """Return the versions of a model that answer now, in ascending order."""
        known = self._models.get(model)
        return tuple(sorted(known.by_number)) if known else ()

    def users(self) -> dict[tuple[str, int], int]:
        """Return how many requests use each version now, by model and version."""
        return {
            (model, number): servable.users
            for model, known in self._models.items()
            for number, servable in known.by_number.items()
        }

    def open(self, selector: Selector) -> Handle[T]:
        """Take hold of the version that a request asks for.

        Raises:
            ServingError: INVALID_ARGUMENT for an empty name or an unknown label, NOT_FOUND for a model or version
                that does not answer, UNAVAILABLE for a label before labels were ever set, and for whatever does not
                answer while the server is starting.
        """
        if not selector.model:
            raise invalid_argument("ModelSpec has no name specified.")
        try:
            if selector.label:
                selector = self._resolve(selector)
            while True:
                servable = self._find(selector)
                # Between the look-up and here the version may have left the map; then the next look-up says so.
                if servable.acquire():
                    return Handle(servable)
        except ServingError as error:
            raise self._starting(selector.model) or error from None

    def _resolve(self, selector: Selector) -> Selector:
        if self._labels is None:
            raise ServingError(Code.UNAVAILABLE, f"Model labels does not init yet.{selector.label}")
        version = self._labels.get(selector.model, {}).get(selector.label or "")
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {selector.label}")
        return replace(selector, version=version, label=None)

    def _find(self, selector: Selector) -> Servable[T]:
        known = self._models.get(selector.model)
        if selector.version is None:
            if known:
                return known.newest
            raise not_found(f"Servable not found for request: Latest({selector.model})")
        servable = known.by_number.get(selector.version) if known else None
        if servable is None:
            raise not_found(
                f"Servable not found for request: Specific({selector.model}, {selector.version})"
                + self._absent_version_hint
            )
        return servable

    def _replace(self, model: str, numbers: Mapping[int, Servable[T]]) -> None:
        models = dict(self._models)
        if numbers:
            models[model] = _Versions(MappingProxyType(dict(numbers)), numbers[max(numbers)])
        else:
            models.pop(model, None)
        self._models = MappingProxyType(models)
