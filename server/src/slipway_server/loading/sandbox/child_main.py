"""The sandbox's child process: loads and warms up versions under limits of its own, and says how that went.

From its standard input it reads the server's settings, then a line for each `SandboxRequest`; to its standard output
it writes an empty line when it begins to load, then a line with one JSON object. It never outlives the server, never
dumps core, gives way to the server when processors are short, and is the first to go when memory is.
"""

import base64
import ctypes
import json
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from slipway_server.core.managed_version import Loader
from slipway_server.errors import Code, ServingError
from slipway_server.loading.sandbox.protocol import SandboxRequest

_PR_SET_PDEATHSIG: Final = 1
_NICE: Final = 10
_ORPHANED: Final = 1
_CANNOT_WRITE: Final = 2


def main() -> None:
    """Carry out requests until there are no more."""
    # TensorFlow and the model may print; only answers may reach the standard output.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    _die_with(int(sys.argv[1]))
    _lower_priority()
    loader: Loader[Any] | None = None
    payload = base64.b64decode(sys.stdin.buffer.readline())
    while line := sys.stdin.buffer.readline():
        if loader is None:
            loader = _loader(payload)
        answer = _answer(loader, SandboxRequest.decode(line), lambda: _write(answer_to, b"\n"))
        _write(answer_to, json.dumps(answer).encode() + b"\n")
    os._exit(0)


def _write(pipe: int, text: bytes) -> None:
    try:
        os.write(pipe, text)
    except OSError:
        os._exit(_CANNOT_WRITE)


def _loader(payload: bytes) -> Loader[Any]:
    settings = pickle.loads(payload)  # noqa: S301 - from this process's own parent, over a pipe
    from slipway_server import logs  # noqa: PLC0415 - takes a while, and the limits of `main` come first
    from slipway_server.tensorflow_library.lean_import import make_packages_known  # noqa: PLC0415 - likewise

    make_packages_known()
    from slipway_server.loading.chain import make_loader  # noqa: PLC0415 - likewise, and imports parts of TensorFlow

    logs.configure(settings.log_level)
    return make_loader(settings)


def _answer(
    loader: Loader[Any], request: SandboxRequest, begin: Callable[[], None]
) -> dict[str, Any]:
    try:
        limit_memory(request.memory_bytes)
        begin()
        loader.unload(loader.load(request.model, request.version, request.path))
    except ServingError as error:
        return {"ok": False, "code": int(error.code), "message": error.message}
    except MemoryError:
        return {"ok": False, "code": int(Code.RESOURCE_EXHAUSTED), "message": "Out of memory"}
    return {"ok": True, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(_ORPHANED)


def _lower_priority() -> None:
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # a proc file system that is mounted read-only
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def limit_memory(memory_bytes: int) -> None:
    """Let this process take so many bytes in all.

    The kernel's limit counts what is reserved; most of that (thread stacks above all) is never touched. So what is
    reserved and untouched by now comes on top.

    Raises:
        ServingError: RESOURCE_EXHAUSTED; TensorFlow alone has taken as much.
    """
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines()
    )
    reserved, touched = (int(status[name].split()[0]) * 1024 for name in ("VmData", "RssAnon"))
    if touched >= memory_bytes:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"Loading in a child process may use {memory_bytes} bytes (--isolated_load_memory_bytes), which is "
            f"less than the {touched} bytes that TensorFlow takes",
        )
    limit = memory_bytes + max(reserved - touched, 0)
    # The hard limit stays, so that the next request may raise it again.
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


if __name__ == "__main__":
    main()
