"""Tries a version in a child process before it is loaded here: what kills the child costs nobody a request.

    load → a child loads and warms it up, under limits of its own → it ended well → load it here
                              └ crashed, hung, ran out of memory, or said why not → the version's error

Nothing here knows what the child runs; `slipway_server.loading.sandbox.child_main` is that program. They talk over
pipes: the child reads a payload, then a line for each `SandboxRequest`, from its standard input; to its standard output
it writes an empty line when it is about to load, then a line with one JSON object. Its standard error is kept for the
sentence that explains a crash.

A child that answered is kept for a while for the next request: most of what it costs is the import of TensorFlow, and a
server with many models asks for many. One that crashed, hung or spoke nonsense is not.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

import structlog

from slipway_server.core.managed_version import Loader
from slipway_server.loading.sandbox.processes import SandboxProcesses, SandboxSettings
from slipway_server.loading.sandbox.protocol import SandboxRequest, load_error, parse_answer

T = TypeVar("T")

_log: Final = structlog.get_logger("slipway_server.sandbox")


class SandboxLoader(Generic[T]):
    """Loads a version in a child process first, then with another loader (`core.managed_version.Loader`).

    Args:
        free_memory: bytes that may still be taken without harm, now.
    """

    def __init__(
        self, loader: Loader[T], settings: SandboxSettings, free_memory: Callable[[], int]
    ) -> None:
        self._loader = loader
        self._settings = settings
        self._free_memory = free_memory
        self._processes = SandboxProcesses(settings)
        self._slots = threading.BoundedSemaphore(settings.parallel)
        self._lock = threading.Lock()
        self._running = 0

    def load(self, model: str, version: int, path: str) -> T:
        """Try a version in a child, then load it here.

        Raises:
            ServingError: what either of them said; `SandboxLoadError` when the child did not survive.
        """
        with self._slot() as memory_bytes:
            request = SandboxRequest(model, version, path, memory_bytes)
            result = self._processes.run(request)
        if error := load_error(request, result):
            raise error
        _log.info(
            "tried in a child process",
            model=model,
            version=version,
            seconds=round(result.seconds, 3),
            peak_bytes=(parse_answer(result.answer) or {}).get("peak_bytes"),
        )
        return self._loader.load(model, version, path)

    def unload(self, content: T) -> None:
        """Release what `load` returned."""
        self._loader.unload(content)

    @contextmanager
    def _slot(self) -> Iterator[int]:
        """Wait for a turn; give the bytes that the child may use."""
        with self._slots:
            with self._lock:
                self._running += 1
                # What the others use is no longer free; of what they may yet take, this one leaves them a share.
                share = self._free_memory() // self._running
            try:
                yield self._settings.memory_bytes or share
            finally:
                with self._lock:
                    self._running -= 1
