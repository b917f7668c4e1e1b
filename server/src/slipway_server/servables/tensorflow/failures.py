"""TensorFlow's exceptions as this server's errors: the one place where they are translated."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from slipway_server.errors import Code, ModelFaultError, ServingError
from slipway_server.tensorflow_library.names import OpError

# What Session.run adds around TensorFlow's own words: a heading, sometimes with the node, and the source lines of
# whoever exported the model.
_HEADING: Final = re.compile(
    r"^Graph execution error:\n\n(Detected at node .*?\nNode: [^\n]*\n)?", re.DOTALL
)
# A compiled callable has other words for a tensor of the wrong element type than the run that TensorFlow Serving uses.
_WRONG_TYPE: Final = re.compile(
    r"Type mismatch: actual (\w+) vs\. expect (\w+)\n\t \[\[\{\{node _arg_\S+_(\d+)\}\}\]\]"
)
_PYTHON_TRACE: Final = re.compile(
    r"(^|\n+)(Original stack trace for|Defined at \(most recent call last\)|Detected at node).*",
    re.DOTALL,
)
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


def as_serving_error(error: Exception) -> ServingError | None:
    """Return what TensorFlow raised with its own code and words; None for a fault of this server."""
    match error:
        case OpError():
            return ServingError(_code(error.error_code), _own_words(error.message or ""))
        case UnicodeDecodeError():
            # TensorFlow quoted the request's own bytes, and its Python side failed to read the quotation.
            return ServingError(
                Code.INVALID_ARGUMENT, _own_words(bytes(error.object).decode("utf-8", "replace"))
            )
        case TypeError() | ValueError():
            return ServingError(Code.INVALID_ARGUMENT, str(error))
        case MemoryError():
            return ServingError(Code.RESOURCE_EXHAUSTED, "Out of memory")
        case _:
            return None


def as_run_error(error: Exception, directory: str = "") -> ServingError | None:
    """Return what a run of a model raised, as `as_serving_error`; what is the model's own fault as such.

    Args:
        error: that was raised.
        directory: of the version; where it is mentioned, the model could not read a file of its own.
    """
    found = as_serving_error(error)
    if found is None:
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


@contextmanager
def translated() -> Iterator[None]:
    """Turn what TensorFlow raises inside the block into a `ServingError`."""
    try:
        yield
    except ServingError:
        raise
    except Exception as error:
        found = as_serving_error(error)
        if found is None:
            raise
        try:
            raise found from error
        finally:
            del found  # else this frame and the error would keep each other


def _own_words(message: str) -> str:
    r"""Return a message as `Session::Run` words it.

    >>> _own_words("Type mismatch: actual int32 vs. expect float\n\t [[{{node _arg_serving_default_x_0_1}}]]")
    'Expects arg[1] to be float but int32 is provided'
    """
    if found := _WRONG_TYPE.fullmatch(message):
        actual, expected, number = found.groups()
        return f"Expects arg[{number}] to be {expected} but {actual} is provided"
    return _PYTHON_TRACE.sub("", _HEADING.sub("", message)) or message


def _code(number: int) -> Code:
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN
