"""TensorProtos as arrays, whole also where a message leaves values to be repeated."""

from __future__ import annotations

from typing import Any

from slipway_server.frontends.codec.tensors import ShortTensor, read_sent
from slipway_server.frontends.codec.value_fields import TensorError
from slipway_server.frontends.rpc.prediction import _MAX_REPEATED


def read_tensor(proto: Any, *, strict: bool = True) -> Any:
    """Return a tensor's value, as a request's handler reads it."""
    value = read_sent(proto, strict=strict)
    if not isinstance(value, ShortTensor):
        return value
    if value.nbytes > _MAX_REPEATED:
        raise TensorError(value.fault)
    return value.array()
