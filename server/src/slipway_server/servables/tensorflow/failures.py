"""What a failed run of a model means: the request's fault in TensorFlow's words, or the model's own."""

import re
from typing import Final

from slipway_server.errors import Code, ModelFaultError, ServingError

# What a graph does whatever it is asked: a value, a table, a kernel or a function that is not there.
_MODEL_FAULTS: Final = re.compile(
    r"Could not find variable |Error while reading resource variable |Attempting to use uninitialized value "
    r"|Table not initialized|\bResource \S+ does not exist|Container \S+ does not exist"
    r"|Op type not registered|No OpKernel was registered|No registered '\w+' OpKernel"
    r"|Cannot assign a device for operation|Could not find callback with key"
    r"|Function \S+ is not defined|Traceback \(most recent call last\)"
)
_TRACEBACK: Final = re.compile(r"\s*Traceback \(most recent call last\).*", re.DOTALL)
_DEFINED_AT: Final = re.compile(r"\s*\(defined at [^)]*\)")
# A file's name; what TensorFlow calls devices begins with a slash as well, and so do resources in messages.
_PATH: Final = re.compile(
    r"(?<![\w/.\]])/(?!(?:job|replica|task|device|cpu|gpu):)(?:[^\s/:;,'\")\]]+/)+[^\s:;,'\")\]]*"
)


def as_run_error(error: Exception, directory: str = "") -> ServingError | None:
    """Return what a run of a model raised, the model's own fault as such; None for a fault of this server.

    Args:
        error: that was raised.
        directory: of the version; where it is mentioned, the model could not read a file of its own.
    """
    match error:
        case ServingError():
            found = error
        case MemoryError():
            found = ServingError(Code.RESOURCE_EXHAUSTED, "Out of memory")
        case _:
            return None
    if not _MODEL_FAULTS.search(found.message) and not (
        directory and f"{directory}/" in found.message
    ):
        return found
    return ModelFaultError(_without_places(found.message, directory))


def _without_places(message: str, directory: str) -> str:
    r"""Return a message without what concerns only whoever runs the server, or made the export.

    >>> _without_places("ValueError: no callback\nTraceback (most recent call last):\n File ...", "")
    'ValueError: no callback'
    >>> _without_places("/models/m/1/assets/a; No such file, on /job:localhost/device:CPU:0", "/models/m/1")
    'assets/a; No such file, on /job:localhost/device:CPU:0'
    """
    short = _DEFINED_AT.sub("", _TRACEBACK.sub("", message))
    if directory:
        short = short.replace(f"{directory}/", "")
    return _PATH.sub("(a path)", short) or "The model failed"
