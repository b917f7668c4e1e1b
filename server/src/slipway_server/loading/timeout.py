"""Gives up on a load that takes too long: the version ends with an error, and the server goes on.

A thread inside native code cannot be stopped. It is left to itself; should it come to an end after all, what it
loaded is released at once.
"""

import threading
from typing import Final, Generic, TypeVar

import structlog
from typing_extensions import override

from slipway_server.core.managed_version import Loader
from slipway_server.errors import Code, ServingError

T = TypeVar("T")

_log: Final = structlog.get_logger("slipway_server.loader")


class LoadTimeoutError(ServingError):
    """A load that did not end in time. Trying it again could only leave another thread behind."""

    def __init__(self, model: str, version: int, seconds: float) -> None:
        super().__init__(
            Code.DEADLINE_EXCEEDED,
            f"Version {version} of model {model} was still not loaded after {seconds:g} s (--load_timeout_seconds)",
        )

    @property
    @override
    def transient(self) -> bool:
        """Whether the same load may succeed later without anybody changing anything."""
        return False


class TimeoutLoader(Generic[T]):
    """Bounds the time of another loader's loads (`core.managed_version.Loader`).

    Args:
        seconds: that one load may take.
    """

    def __init__(self, loader: Loader[T], seconds: float) -> None:
        self._loader = loader
        self._seconds = seconds

    def load(self, model: str, version: int, path: str) -> T:
        """Load a version.

        Raises:
            ServingError: what the other loader said; `LoadTimeoutError` when it said nothing in time.
        """
        attempt = _Attempt(self._loader, model, version, path)
        threading.Thread(
            target=attempt.run, name=f"timed-load-{model}-{version}", daemon=True
        ).start()
        if not attempt.ended.wait(self._seconds) and attempt.abandon():
            raise LoadTimeoutError(model, version, self._seconds)
        return attempt.outcome()

    def unload(self, content: T) -> None:
        """Release what `load` returned."""
        self._loader.unload(content)


class _Attempt(Generic[T]):
    def __init__(self, loader: Loader[T], model: str, version: int, path: str) -> None:
        self.ended = threading.Event()
        self._loader = loader
        self._model, self._version, self._path = model, version, path
        self._lock = threading.Lock()
        self._abandoned = False
        self._content: tuple[T] | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            content = self._loader.load(self._model, self._version, self._path)
        except Exception as error:  # noqa: BLE001 - raised again on the thread that waits
            self._error = error
        else:
            self._content = (content,)
        with self._lock:
            self.ended.set()
            if not self._abandoned:
                return
        about = {"model": self._model, "version": self._version}
        if self._content is None:
            _log.warning("abandoned load ended", **about, error=str(self._error))
            return
        self._loader.unload(*self._content)
        _log.warning("abandoned load ended; released", **about)

    def abandon(self) -> bool:
        """Leave the load to itself; False when it has just ended after all."""
        with self._lock:
            self._abandoned = not self.ended.is_set()
            return self._abandoned

    def outcome(self) -> T:
        if self._content is None:
            raise self._error or ServingError(Code.INTERNAL, "The loader returned nothing")
        [content] = self._content
        self._content = None
        return content
