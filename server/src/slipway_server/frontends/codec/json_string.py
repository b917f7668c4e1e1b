"""Strings in JSON: text, or bytes as `{"b64": "aGk="}`."""

import base64
import binascii
from typing import Any

from slipway_server.errors import ServingError, invalid_argument
from slipway_server.frontends.codec.json_text import excerpt, type_name
from slipway_server.servables.dtypes import DType


def read_string(value: Any) -> bytes:
    """Return the bytes of a string or of a `{"b64": …}` object.

    Raises:
        ServingError: INVALID_ARGUMENT for anything else.
    """
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise invalid_argument(
                "JSON Parse error: The surrogate pair in string is invalid."
            ) from error
    if not isinstance(value, dict):
        raise wrong_type(value, DType.STRING)
    if not is_b64(value):
        raise invalid_argument(
            f"JSON Value: {excerpt(value)} not formatted correctly for base64 data"
        )
    text = "".join(value["b64"].split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def is_b64(value: Any) -> bool:
    """Whether a value is `{"b64": "…"}`, which stands for a string of bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def wrong_type(value: Any, dtype: DType) -> ServingError:
    """Return the error for a value that a tensor of this element type cannot hold."""
    return invalid_argument(
        f"JSON Value: {excerpt(value)} Type: {type_name(value)} is not of expected type: {dtype.label}"
    )
