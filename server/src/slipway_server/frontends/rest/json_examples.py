"""Classify and Regress in JSON: examples → serialized tf.Examples, results → JSON.

    request  {"signature_name": …, "context": {feature: …}, "examples": [{feature: value or list}, …]}
    answer   {"results": [[["label", 0.9], …], …]} for classify, {"results": [3.5, …]} for regress

The type of a feature is that of its values: integers, true and false make an int64 list, numbers with a fraction or
exponent a float list, strings and {"b64": "aGk="} a bytes list. So `1` and `1.0` are different features.
"""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np

from slipway_server.errors import ServingError, invalid_argument
from slipway_server.frontends.codec.examples import example_vector
from slipway_server.frontends.codec.json_number import decimals, dumps
from slipway_server.frontends.codec.json_string import is_b64, read_string
from slipway_server.frontends.codec.json_text import excerpt, type_name
from slipway_server.frontends.codec.wire import delimited, signed_varint
from slipway_server.frontends.rest.json_tensor import signature_name
from slipway_server.inference.classification import Classifications, Result
from slipway_server.servables.signature import Array

_INT64_MAX: Final = 2**63 - 1
_INT64_MIN: Final = -(2**63)
_UINT64_MAX: Final = 2**64 - 1
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


class _Kind(Enum):
    """What a feature holds; the value is the field of `tensorflow.Feature`."""

    BYTES = 1
    FLOAT = 2
    INT64 = 3


@dataclass(frozen=True, slots=True, eq=False)
class ExamplesBody:
    """A decoded request body.

    Attributes:
        signature: empty when the body names none.
        examples: vector of serialized tf.Examples, the context before each.
    """

    signature: str
    examples: Array


def read_examples(body: Any) -> ExamplesBody:
    """Turn a parsed request body into tf.Examples.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    name = signature_name(body)
    context = _example(body["context"]) if "context" in body else b""
    if "examples" not in body:
        raise invalid_argument(
            "When method is classify, key 'examples' is expected and was not found"
        )
    values = body["examples"]
    if not isinstance(values, list):
        raise invalid_argument("Expecting 'examples' value to be an list/array")
    if not values:
        raise invalid_argument("'examples' value is an empty array")
    return ExamplesBody(name, example_vector([_example(value) for value in values], context))


def write_results(result: Result) -> bytes:
    """Return the JSON body of a Classify or Regress answer."""
    if not isinstance(result, Classifications):
        return dumps({"results": decimals(result.values)})
    count, classes = (result.labels if result.labels is not None else result.scores).shape  # type: ignore[union-attr]
    scores = decimals(result.scores) if result.scores is not None else [[0.0] * classes] * count
    labels = (
        [[label.decode("utf-8", "replace") for label in row] for row in result.labels.tolist()]
        if result.labels is not None
        else [[""] * classes] * count
    )
    rows = [
        list(zip(names, values, strict=True)) for names, values in zip(labels, scores, strict=True)
    ]
    return dumps({"results": rows})


def _example(value: Any) -> bytes:
    """Return a serialized tf.Example."""
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    features = b"".join(
        delimited(1, delimited(1, _utf8(name)) + delimited(2, _feature(name, content)))
        for name, content in value.items()
    )
    return delimited(1, features)


def _feature(name: str, content: Any) -> bytes:
    """Return a serialized tensorflow.Feature."""
    values = content if isinstance(content, list) else [content]
    kind: _Kind | None = None
    for value in values:
        found = _kind(name, value)
        if kind is not None and found is not kind:
            raise invalid_argument(
                f"Unexpected element type in feature: {name} expecting type: {kind.name.lower()}"
            )
        kind = found
    return b"" if kind is None else delimited(kind.value, _PACKERS[kind](values))


def _kind(name: str, value: Any) -> _Kind:
    match value:
        case bool():
            return _Kind.INT64
        case str():
            return _Kind.BYTES
        case dict() if is_b64(value):
            return _Kind.BYTES
        case int() if _INT64_MIN <= value <= _INT64_MAX:
            return _Kind.INT64
        case int() if 0 <= value <= _UINT64_MAX:
            raise invalid_argument(
                f"Feature: {name} has uint64_t element. Only int64_t is supported."
            )
        case int() | float():
            return _Kind.FLOAT
        case _:
            raise _unexpected(name, value)


def _unexpected(name: str, value: Any) -> ServingError:
    return invalid_argument(
        f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
    )


def _pack_bytes(values: Iterable[Any]) -> bytes:
    return b"".join(delimited(1, read_string(value)) for value in values)


def _pack_floats(values: list[Any]) -> bytes:
    for value in values:
        if math.isfinite(value) and abs(value) > _FLOAT32_MAX:
            raise invalid_argument(
                f"Cannot convert JSON value: {excerpt(value)} to float without loss of precision."
            )
    return delimited(1, struct.pack(f"<{len(values)}f", *values))


def _pack_integers(values: list[Any]) -> bytes:
    return delimited(1, b"".join(map(signed_varint, values)))


_PACKERS: Final = {
    _Kind.BYTES: _pack_bytes,
    _Kind.FLOAT: _pack_floats,
    _Kind.INT64: _pack_integers,
}


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
