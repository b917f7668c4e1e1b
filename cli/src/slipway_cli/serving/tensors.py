"""Between nested lists, as JSON has them, and TensorProtos, without NumPy. Pure."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from slipway_cli.errors import CliError, UsageError
from slipway_cli.serving.signature import TensorSpec
from slipway_cli.wire import serving_pb2 as wire

_STRING: Final = 7
_BOOL: Final = 10
_BFLOAT16: Final = 14
_HALF: Final = 19
_CODES: Final = {
    1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 14: "H", 17: "H", 19: "e",
    22: "I", 23: "Q",
}  # fmt: skip
"""`struct` codes of the element types that requests carry as numbers."""
_FIELDS: Final[Mapping[int, Callable[[wire.TensorProto], Sequence[Any]]]] = {
    1: lambda proto: proto.float_val,
    2: lambda proto: proto.double_val,
    3: lambda proto: proto.int_val,
    4: lambda proto: proto.int_val,
    5: lambda proto: proto.int_val,
    6: lambda proto: proto.int_val,
    9: lambda proto: proto.int64_val,
    10: lambda proto: proto.bool_val,
    14: lambda proto: [_widened(value) for value in proto.half_val],
    17: lambda proto: proto.int_val,
    19: lambda proto: [
        struct.unpack("<e", struct.pack("<H", value))[0] for value in proto.half_val
    ],
    22: lambda proto: proto.uint32_val,
    23: lambda proto: proto.uint64_val,
}
_MAX_RANK: Final = 254
_INTEGERS: Final = frozenset({3, 4, 5, 6, 9, 17, 22, 23})
_WORDS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode(value: Any, spec: TensorSpec, name: str) -> wire.TensorProto:
    """Return the tensor of a value of JSON.

    Args:
        value: A number, string, boolean, `{"b64": …}` or lists of them, as deep as the tensor's rank.
        spec: The type that the model wants.
        name: Of the input, for messages.

    Raises:
        UsageError: It is no such tensor.
    """
    shape = _shape(value, name)
    flat = list(_flat(value, shape, name, ()))
    proto = wire.TensorProto(dtype=spec.dtype)
    proto.tensor_shape.dim.extend(wire.TensorShapeProto.Dim(size=length) for length in shape)
    if spec.dtype == _STRING:
        proto.string_val.extend(as_bytes(item, name) for item in flat)
        return proto
    code = _CODES.get(spec.dtype)
    if code is None:
        raise UsageError(f"input {name!r} is of type {spec.type_name}, which JSON has no form for")
    numbers = [_number(item, spec, name) for item in flat]
    try:
        if spec.dtype == _BFLOAT16:
            numbers = [_narrowed(number) for number in numbers]
        proto.tensor_content = struct.pack(f"<{len(numbers)}{code}", *numbers)
    except (struct.error, OverflowError) as error:
        raise UsageError(f"input {name!r} has a value that is no {spec.type_name}") from error
    return proto


def decode(proto: wire.TensorProto, name: str) -> Any:
    """Return nested lists of numbers, booleans and bytes.

    Raises:
        CliError: The tensor is malformed, or of a type that has no form in JSON.
    """
    shape = [dim.size for dim in proto.tensor_shape.dim]
    count = math.prod(shape)
    if proto.dtype == _STRING:
        flat: list[Any] = list(proto.string_val)
    elif proto.dtype not in _CODES:
        kind = TensorSpec(proto.dtype, None).type_name
        raise CliError(
            f"output {name!r} is of type {kind}, which JSON has no form for: leave it out"
        )
    elif proto.tensor_content:
        code = _CODES[proto.dtype]
        if len(proto.tensor_content) != count * struct.calcsize(f"<{code}"):
            raise CliError(
                f"output {name!r} has {len(proto.tensor_content)} bytes, not its shape's"
            )
        flat = list(struct.unpack(f"<{count}{code}", proto.tensor_content))
        if proto.dtype == _BFLOAT16:
            flat = [_widened(value) for value in flat]
    else:
        flat = list(_FIELDS[proto.dtype](proto))
    if flat and len(flat) < count:  # The last value stands for all that follow.
        flat += [flat[-1]] * (count - len(flat))
    if len(flat) != count:
        raise CliError(f"output {name!r} has {len(flat)} values, and a shape of {count}")
    return _nested(flat, shape)


def as_bytes(item: Any, name: str) -> bytes:
    """Return a string of JSON as the model gets it: UTF-8, or what `{"b64": …}` stands for.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass")
    if is_binary(item):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise UsageError(f'input {name!r}: the text of {{"b64": …}} is not base64') from error
    raise UsageError(f"input {name!r} is of type string, and {_shown(item)} is not a string")


def is_binary(value: Any) -> bool:
    """Whether a value of JSON stands for bytes: `{"b64": …}`."""
    return isinstance(value, dict) and set(value) == {"b64"}


def _shape(value: Any, name: str) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > _MAX_RANK:
            raise UsageError(f"input {name!r} has more than {_MAX_RANK} levels of lists")
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _flat(value: Any, shape: tuple[int, ...], name: str, at: tuple[int, ...]) -> Iterator[Any]:
    if len(at) == len(shape):
        if isinstance(value, list):
            raise UsageError(
                f"input {name!r} is uneven: there is a list at {list(at)}, not a value"
            )
        yield value
        return
    if not isinstance(value, list) or len(value) != shape[len(at)]:
        found = f"{len(value)} values" if isinstance(value, list) else _shown(value)
        wanted = f"{shape[len(at)]} values"
        raise UsageError(f"input {name!r} is uneven: {found} at {list(at)}, and {wanted} before")
    for index, item in enumerate(value):
        yield from _flat(item, shape, name, (*at, index))


def _nested(flat: list[Any], shape: list[int]) -> Any:
    if not shape:
        return flat[0]
    for length in reversed(shape[1:]):
        count = len(flat) // length if length else math.prod(shape[: len(shape) - 1])
        flat = [flat[index * length : (index + 1) * length] for index in range(count)]
    return flat if shape[0] else []


def _number(item: Any, spec: TensorSpec, name: str) -> Any:
    if spec.dtype == _BOOL:
        if isinstance(item, bool):
            return item
    elif spec.dtype in _INTEGERS:
        if isinstance(item, int) and not isinstance(item, bool):
            return item
        if isinstance(item, float) and item.is_integer():
            return int(item)
    elif isinstance(item, int | float) and not isinstance(item, bool):
        return item
    elif isinstance(item, str) and item in _WORDS:
        return _WORDS[item]
    raise UsageError(f"input {name!r} is of type {spec.type_name}, and {_shown(item)} is not")


def _narrowed(number: float) -> int:
    (bits,) = struct.unpack("<I", struct.pack("<f", number))
    if math.isnan(number):
        return int(bits >> 16 | 0x40)  # Some bit of what is kept has to say that it is no number.
    return int(bits + 0x7FFF + (bits >> 16 & 1) >> 16)


def _widened(bits: int) -> float:
    value: float = struct.unpack("<f", struct.pack("<I", (bits & 0xFFFF) << 16))[0]
    return value


def _shown(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= 40 else f"{text[:39]}…"  # noqa: PLR2004 - a line's worth
