"""JSON text → Python values, the way TensorFlow Serving reads it.

orjson reads what is standard JSON. What it refuses and TensorFlow Serving takes (NaN, Infinity, bytes after the first
value) is read again by the standard library's parser. Both refuse deep nesting instead of running out of stack.
"""

import codecs
import gc
import json
import math
import re
from typing import Any, Final

import numpy as np
import orjson

from slipway_server.errors import ServingError, invalid_argument

DEEPEST: Final = 1024
"""Levels of nesting that the parsers accept."""

_LARGE: Final = 1 << 20
_MAX_EXCERPT: Final = 256
_INT64_MIN: Final = -(2**63)
_UINT64_MAX: Final = 2**64 - 1
_SPACE: Final = re.compile(r"[ \t\r\n]*")

# What Python's parser says, in the words of the parser that TensorFlow Serving uses.
_WORDS: Final = {
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
_MISSING_COMMA: Final = "Expecting ',' delimiter"
_STRING_OR_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BLOCK: Final = 1 << 20
_STEP: Final = np.zeros(256, np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


def check_depth(text: bytes, limit: int) -> None:
    """Refuse JSON that is nested deeper than a limit below the parsers' own. Costs nothing without one.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if limit >= DEEPEST or text.count(b"[") + text.count(b"{") <= limit:
        return
    characters = np.frombuffer(_STRING.sub(b"", text), np.uint8)
    level = 0
    for at in range(0, len(characters), _BLOCK):
        levels = level + _STEP[characters[at : at + _BLOCK]].cumsum(dtype=np.int64)
        if levels.max() > limit:
            raise invalid_argument(
                f"JSON Parse error: The document is nested too deeply: {limit} levels are allowed"
            )
        level = int(levels[-1])


def loads(text: bytes) -> Any:
    """Return the value of a text of standard JSON.

    Nothing else runs while it is built, and millions of new lists would have the garbage collector look at all of them
    again and again meanwhile, for nothing.

    Raises:
        orjson.JSONDecodeError: it is none.
    """
    if len(text) <= _LARGE or not gc.isenabled():
        return orjson.loads(text)
    gc.disable()
    try:
        return orjson.loads(text)
    finally:
        gc.enable()


def parse(body: bytes, *, whole: bool = False) -> Any:
    """Return the first JSON value of a body; NaN, Infinity and -Infinity may stand among the numbers.

    Args:
        body: UTF-8.
        whole: refuse anything but space after the value, which TensorFlow Serving ignores.

    Raises:
        ServingError: INVALID_ARGUMENT with the place of the error.
    """
    try:
        return loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body.removeprefix(codecs.BOM_UTF8), whole=whole)


def _parse_leniently(body: bytes, *, whole: bool) -> Any:
    if not body.strip(b" \t\r\n"):
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    start = _SPACE.match(text)
    begin = start.end() if start else 0
    decoder = _CAREFUL if _MAY_BE_TOO_BIG.search(body) else _PLAIN
    surrogate = _SURROGATE.search(text, begin)
    try:
        value, end = decoder.raw_decode(text, begin)
        if surrogate:
            # Python takes half of a pair for a character, which nothing could write again.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        place = _bytes_before(text, surrogate.start() if surrogate else begin)
        raise _parse_error("The surrogate pair in string is invalid.", place) from error
    except json.JSONDecodeError as error:
        raise _parse_error(_words(error), _bytes_before(text, error.pos)) from error
    except RecursionError as error:
        raise invalid_argument("JSON Parse error: The document is nested too deeply") from error
    except _TooBigError as error:
        place = _bytes_before(text, text.index(error.literal, begin))
        raise _parse_error("Number too big to be stored in double.", place) from error
    if whole and text[end:].strip(" \t\r\n"):
        raise _parse_error(
            "The document root must not be followed by other values.", _bytes_before(text, end)
        )
    return value


class _TooBigError(Exception):
    def __init__(self, literal: str) -> None:
        super().__init__(literal)
        self.literal = literal


def _integer(literal: str) -> int | float:
    """Read an integer as orjson does: what 64 bits cannot hold becomes a float."""
    if len(literal) <= len(str(_INT64_MIN)):
        number = int(literal)
        if _INT64_MIN <= number <= _UINT64_MAX:
            return number
    return _real(literal)


def _real(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise _TooBigError(literal)
    return number


_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_PLAIN: Final = json.JSONDecoder()
_CAREFUL: Final = json.JSONDecoder(parse_int=_integer, parse_float=_real)
"""Looks at each number, which takes several times as long."""
_MAY_BE_TOO_BIG: Final = re.compile(rb"[0-9]{19}|[eE]\+?[0-9]{3}")
"""Without such digits every integer has 64 bits, and no number overflows: 18 digits times 10 to the 99th."""


def _bytes_before(text: str, position: int) -> int:
    return len(text[:position].encode())


def _parse_error(what: str, offset: int) -> ServingError:
    return invalid_argument(f"JSON Parse error: {what} at offset: {offset}")


def _words(error: json.JSONDecodeError) -> str:
    if error.msg.startswith(_MISSING_COMMA):
        if _inside_object(error.doc, error.pos):
            return "Missing a comma or } after an object member."
        return "Missing a comma or ] after an array element."
    for beginning, words in _WORDS.items():
        if error.msg.startswith(beginning):
            return words
    return "Invalid value."


def _inside_object(text: str, end: int) -> bool:
    """Whether the innermost bracket that is open at a place of a well-formed text is a curly one."""
    open_brackets: list[str] = []
    for found in _STRING_OR_BRACKET.finditer(text, 0, end):
        piece = found.group()
        if piece in "[{":
            open_brackets.append(piece)
        elif piece in "]}" and open_brackets:
            open_brackets.pop()
    return bool(open_brackets) and open_brackets[-1] == "{"


def excerpt(value: Any) -> str:
    """Return a value as JSON for an error message, cut to about 256 bytes.

    >>> excerpt([1.0, None])
    '[1.0,null]'
    """
    # Written piece by piece and left off when long enough: the value may be all of a large request.
    text = b""
    try:
        for piece in _ENCODER.iterencode(
            value[: _MAX_EXCERPT + 1] if isinstance(value, str) else value
        ):
            text += piece[: _MAX_EXCERPT + 1].encode("utf-8", "replace")
            if len(text) > _MAX_EXCERPT:
                return text[:_MAX_EXCERPT].decode("utf-8", "ignore") + "..."
    except RecursionError:
        text += b"..."
    return text.decode()


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def type_name(value: Any) -> str:
    """Return the JSON type of a value as error messages name it."""
    match value:
        case None:
            return "Null"
        case bool():
            return "True" if value else "False"
        case int() | float():
            return "Number"
        case str():
            return "String"
        case list():
            return "Array"
        case _:
            return "Object"
