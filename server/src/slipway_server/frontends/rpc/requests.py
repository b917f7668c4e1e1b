"""Parts that all requests share: parsing a message, and its ModelSpec, which selects the version."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError, Message

from slipway_server.core.serving_map import Selector
from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.codec.cost import parsing_cost
from slipway_server.frontends.codec.wire import delimited, signed_varint


def parsed(kind: Callable[[], Any], data: bytes) -> Any:
    """Return the message in `data`.

    Raises:
        ServingError: INTERNAL, the code that gRPC itself has for this; INVALID_ARGUMENT for far too many fields.
    """
    parsing_cost(data, {})
    message: Message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ServingError(
            Code.INTERNAL, f"The request is not a {message.DESCRIPTOR.name} message"
        ) from error
    return message


def selector(request: Any) -> Selector:
    """Return the model and version that the `model_spec` of a request selects.

    Raises:
        ServingError: INVALID_ARGUMENT when it has none.
    """
    spec = request.model_spec
    if not spec.name and not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return spec_selector(spec)


def spec_selector(spec: Any) -> Selector:
    """Return the model and version that a ModelSpec selects."""
    choice = spec.WhichOneof("version_choice")
    if choice == "version":
        return Selector(spec.name, version=spec.version.value)
    if choice == "version_label":
        return Selector(spec.name, label=spec.version_label)
    return Selector(spec.name)


@lru_cache(maxsize=1024)  # as many as loaded signatures, give or take
def spec_field(field: int, model: str, version: int, signature: str) -> bytes:
    """Return the ModelSpec of a reply as a field: the version and signature that were used, never the label."""
    spec = (
        delimited(1, model.encode())
        + delimited(2, b"\x08" + signed_varint(version))
        + delimited(3, signature.encode())
    )
    return delimited(field, spec)
