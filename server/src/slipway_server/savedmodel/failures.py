"""TensorFlow's exceptions as this server's errors: the one place where they are translated."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import tensorflow as tf

from slipway_server.errors import Code, ServingError

# What Session.run adds around TensorFlow's own words: a heading, and the source lines of whoever exported the model.
_HEADING: Final = "Graph execution error:\n\n"
_PYTHON_TRACE: Final = re.compile(
    r"(^|\n+)(Original stack trace for|Defined at \(most recent call last\)|Detected at node).*",
    re.DOTALL,
)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what TensorFlow raises inside the block into a `ServingError` with TensorFlow's code and words."""
    try:
        yield
    except tf.errors.OpError as error:
        raise ServingError(_code(error.error_code), _own_words(error.message or "")) from error
    except (TypeError, ValueError, UnicodeError) as error:
        raise ServingError(Code.INVALID_ARGUMENT, str(error)) from error
    except MemoryError as error:
        raise ServingError(Code.RESOURCE_EXHAUSTED, "Out of memory") from error


def _own_words(message: str) -> str:
    return _PYTHON_TRACE.sub("", message.removeprefix(_HEADING)) or message


def _code(number: int) -> Code:
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN
