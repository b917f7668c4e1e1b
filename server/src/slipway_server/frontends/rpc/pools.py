"""Which threads of the gRPC port a method runs on: those of inference, or a few that inference cannot take.

gRPC runs a method on the pool that its function names (`experimental_thread_pool`), else on the server's own.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, cast


def on_pool(pool: ThreadPoolExecutor, behavior: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method's function marked to run on a pool of its own."""

    @wraps(behavior)
    def run(*arguments: Any) -> Any:
        return behavior(*arguments)

    cast("Any", run).experimental_thread_pool = pool
    return run
