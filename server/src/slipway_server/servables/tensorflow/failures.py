"""TensorFlow's exceptions as this server's errors: the one place where they are translated."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import tensorflow as tf

from slipway_server.errors import Code, ServingError

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


def as_serving_error(error: Exception) -> ServingError | None:
    """Return what TensorFlow raised with its own code and words; None for a fault of this server."""
    match error:
        case tf.errors.OpError():
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
