"""Reads the text files that flags name: one protobuf message each."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import structlog
from google.protobuf import text_format
from google.protobuf.message import Message

from slipway_server.errors import invalid_argument, not_found

M = TypeVar("M", bound=Message)

_MAX_CHARACTERS: Final = 500
"""Of a parser's complaint, which may quote a line of any length."""

_log = structlog.get_logger("slipway_server.files")


def read_message(path: str, message: M, tell: Callable[[str], None] | None = None) -> M:
    """Read a text file into a message and return it.

    Args:
        path: of the file.
        message: what the file is read into.
        tell: is told in one line where and why the text is no such message; the log is told when it is None.

    Raises:
        ServingError: NOT_FOUND when the file cannot be read, INVALID_ARGUMENT when it is no such message; the words
            are TensorFlow Serving's.
    """
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from error
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        sentence = f"Error parsing text-format {message.DESCRIPTOR.full_name}: {_where(error)}"
        if tell:
            tell(sentence)
        else:
            _log.error(sentence, path=path)
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error
    return message


def _where(error: Exception) -> str:
    """Return `LINE:COLUMN: what is wrong`, in one line.

    >>> _where(text_format.ParseError("Expected identifier", 2, 7))
    '2:7: Expected identifier'
    """
    text = " ".join(str(error).split())[:_MAX_CHARACTERS]
    if not isinstance(error, text_format.ParseError) or error.GetLine() is None:
        return text
    place = f"{error.GetLine()}:{error.GetColumn()}"
    return f"{place}: {text.removeprefix(place).removeprefix(' : ')}"
