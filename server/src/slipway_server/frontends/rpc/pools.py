"""Threads of the gRPC port: a pool for inference, and a few that inference cannot take.

gRPC runs a method on the pool that its function names (`experimental_thread_pool`), else on the server's own.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, Protocol, cast


class _Sized(Protocol):
    def qsize(self) -> int: ...


class Pool(ThreadPoolExecutor):
    """A thread pool that tells how many tasks wait."""

    @property
    def waiting(self) -> int:
        """Tasks that no thread has taken yet; the library has no public name for them."""
        queue: _Sized = self._work_queue
        return queue.qsize()


def on_pool(pool: Pool, behavior: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method's function marked to run on a pool of its own."""

    @wraps(behavior)
    def run(*arguments: Any) -> Any:
        return behavior(*arguments)

    cast("Any", run).experimental_thread_pool = pool
    return run
