"""JSON text → Python values, the way TensorFlow Serving reads it.

orjson reads what is standard JSON. What it refuses and TensorFlow Serving takes (NaN, Infinity, bytes after the first
value) is read again by the standard library's parser. Both refuse deep nesting instead of running out of stack.
"""

import json
import re
from typing import Any, Final

import orjson

from slipway_server.errors import ServingError, invalid_argument

_MAX_EXCERPT: Final = 256
_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def parse(body: bytes) -> Any:
    """Return the first JSON value of a body.

    Raises:
        ServingError: INVALID_ARGUMENT with the place of the error.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def _parse_leniently(body: bytes) -> Any:
    if not body.strip(b" \t\r\n"):
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    start = _SPACE.match(text)
    begin = start.end() if start else 0
    try:
        value, _end = _DECODER.raw_decode(text, begin)
    except json.JSONDecodeError as error:
        raise _parse_error("Invalid value.", len(text[: error.pos].encode())) from error
    except RecursionError as error:
        raise invalid_argument("JSON Parse error: The document is nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise _parse_error("Number too big to be stored in double.", begin) from error
    return value


def _parse_error(what: str, offset: int) -> ServingError:
    return invalid_argument(f"JSON Parse error: {what} at offset: {offset}")


def excerpt(value: Any) -> str:
    """Return a value as JSON for an error message, cut to about 256 characters.

    >>> excerpt([1.0, None])
    '[1.0,null]'
    """
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    except RecursionError:
        text = "…"
    return text if len(text) <= _MAX_EXCERPT else text[:_MAX_EXCERPT] + "..."


def type_name(value: Any) -> str:
    """Return the JSON type of a value as error messages name it."""
    match value:
        case None:
            return "Null"
        case bool():
            return "Boolean"
        case int() | float():
            return "Number"
        case str():
            return "String"
        case list():
            return "Array"
        case _:
            return "Object"
