"""Reads the text files that flags name: one protobuf message each."""

from pathlib import Path
from typing import TypeVar

import structlog
from google.protobuf import text_format
from google.protobuf.message import Message

from slipway_server.errors import invalid_argument, not_found

M = TypeVar("M", bound=Message)

_log = structlog.get_logger("slipway_server.files")


def read_message(path: str, message: M) -> M:
    """Read a text file into a message and return it.

    Raises:
        ServingError: NOT_FOUND when the file cannot be read, INVALID_ARGUMENT when it is no such message; the words
            are TensorFlow Serving's, and the log says in which line.
    """
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from error
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        _log.error("cannot be parsed", path=path, message=message.DESCRIPTOR.name, error=str(error))
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error
    return message
