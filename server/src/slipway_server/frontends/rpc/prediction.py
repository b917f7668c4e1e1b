"""Predict: TensorProtos in and out."""

from functools import lru_cache
from typing import Any, Final

import numpy as np
from tensorflow_serving.apis import predict_pb2

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.codec.request_templates import PredictTarget, RequestTemplates
from slipway_server.frontends.codec.tensors import (
    TensorError,
    memory_head,
    read_tensor,
    write_tensor,
)
from slipway_server.frontends.codec.wire import delimited, delimited_head
from slipway_server.frontends.rpc.requests import parsed, selector, spec_field
from slipway_server.inference.predictor import Prediction, Predictor
from slipway_server.observability.telemetry import Call
from slipway_server.servables.signature import Array

_MANY_INPUTS: Final = 100
"""No fewer are worth a look before their tensors are read."""


class PredictMethod:
    """The handler of Predict.

    Args:
        tensor_content: write outputs as `tensor_content`.
        strict_types: refuse values in a field of another type, or that do not fit theirs (`read_tensor`).
    """

    def __init__(
        self, predictor: Predictor, *, tensor_content: bool, strict_types: bool = True
    ) -> None:
        self._predictor = predictor
        self._tensor_content = tensor_content
        self._strict = strict_types
        self._templates = RequestTemplates()

    def __call__(self, data: bytes, call: Call) -> bytes:
        """Answer a PredictRequest."""
        template = self._templates.find(data)
        if template is not None:
            target = template.target
        else:
            request = parsed(predict_pb2.PredictRequest, data)
            # Read first: what an error is counted under.
            call.model = request.model_spec.name
            target = PredictTarget(
                selector(request), request.model_spec.signature_name, tuple(request.output_filter)
            )
        model = call.model = target.selector.model
        with self._predictor.open(target.selector) as handle:
            call.version = handle.version
            if template is not None:
                inputs = template.arrays(data)
            else:
                if len(request.inputs) > _MANY_INPUTS:
                    self._predictor.check_names(handle, target.signature, set(request.inputs))
                inputs = _inputs(request, strict=self._strict)
            prediction = self._predictor.predict(
                handle, target.signature, inputs, target.output_filter, call.deadline
            )
        call.signature = prediction.signature
        if template is None:
            self._templates.learn(data, target, inputs)
        return predict_reply(model, prediction, tensor_content=self._tensor_content)


def _inputs(request: predict_pb2.PredictRequest, *, strict: bool) -> dict[str, Array]:
    inputs = {}
    for alias, proto in request.inputs.items():
        try:
            inputs[alias] = read_tensor(proto, strict=strict)
        except (TensorError, OverflowError) as error:
            raise invalid_argument(f"tensor parsing error: {alias}: {error}") from error
    return inputs


def predict_reply(model: str, prediction: Prediction, *, tensor_content: bool) -> bytes:
    """Return the wire bytes of a PredictResponse.

    Raises:
        ServingError: an output has an element type that no message can hold.
    """
    parts: list[Any] = []
    for alias, value in prediction.outputs.items():
        head = _memory_output(alias, value.dtype, value.shape, tensor_content)
        if head is not None:
            # Joined from the array's own memory: large outputs are copied once.
            parts += (head, value if value.flags.c_contiguous else value.tobytes())
            continue
        try:
            tensor = write_tensor(value, as_content=tensor_content)
        except TensorError as error:
            raise ServingError(Code.UNIMPLEMENTED, f'Output "{alias}": {error}') from error
        parts.append(delimited(1, delimited(1, alias.encode()) + delimited(2, tensor)))
    parts.append(spec_field(2, model, prediction.version, prediction.signature))
    return b"".join(parts)


@lru_cache(maxsize=4096)  # a model's outputs have few shapes: batch sizes times outputs
def _memory_output(
    alias: str,
    kind: np.dtype[Any],
    shape: tuple[int, ...],
    as_content: bool,  # noqa: FBT001 - part of the key
) -> bytes | None:
    """Return all that stands before an output's values; None unless those are written as the array's memory."""
    found = memory_head(kind, shape, as_content=as_content)
    if found is None:
        return None
    head, size = found
    name = delimited(1, alias.encode())
    tensor = len(head) + size
    value = delimited_head(2, tensor) + head
    return delimited_head(1, len(name) + len(value) + size) + name + value
