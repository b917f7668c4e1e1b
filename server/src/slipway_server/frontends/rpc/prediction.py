"""Predict: TensorProtos in and out."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.codec.cost import PREDICT, parsing_cost
from slipway_server.frontends.codec.request_templates import PredictTarget, RequestTemplates
from slipway_server.frontends.codec.tensors import (
    ShortTensor,
    memory_head,
    read_sent,
    write_tensor,
)
from slipway_server.frontends.codec.value_fields import TensorError
from slipway_server.frontends.codec.wire import delimited, delimited_head
from slipway_server.frontends.room import Room
from slipway_server.frontends.rpc.requests import parsed, selector, spec_field
from slipway_server.inference.predictor import Prediction, Predictor
from slipway_server.observability.telemetry import Call
from slipway_server.servables.signature import Array
from slipway_server.wire.tensorflow_serving.apis import predict_pb2

_MAX_REPEATED: Final = 64 << 20
"""Bytes that all inputs of a request together may grow to by repetition. Real requests repeat a scalar into a small
constant."""

_FREE_REPEATED: Final = 1 << 20
"""Bytes of repetition for which a request waits for no room."""


class PredictMethod:
    """The handler of Predict.

    Args:
        parsing: what messages take together while they are parsed and answered.
        tensor_content: write outputs as `tensor_content`.
        strict_types: refuse values in a field of another type, or that do not fit theirs (`read_sent`).
    """

    def __init__(
        self,
        predictor: Predictor,
        parsing: Room,
        *,
        tensor_content: bool,
        strict_types: bool = True,
    ) -> None:
        self._predictor = predictor
        self._tensor_content = tensor_content
        self._strict = strict_types
        self._templates = RequestTemplates()
        self._parsing = parsing
        self._repeating = Room(4 * _MAX_REPEATED)

    def __call__(self, data: bytes, call: Call) -> bytes:
        """Answer a PredictRequest."""
        template = self._templates.find(data)
        if template is not None:
            target = template.target
            model = call.model = target.selector.model
            with self._predictor.open(target.selector) as handle:
                call.version = handle.version
                prediction = self._predictor.predict(
                    handle,
                    target.signature,
                    template.arrays(data),
                    target.output_filter,
                    call.deadline,
                )
            call.signature = prediction.signature
            return predict_reply(model, prediction, tensor_content=self._tensor_content)
        return self._parsed(data, call)

    def _parsed(self, data: bytes, call: Call) -> bytes:
        with self._parsing.take(parsing_cost(data, PREDICT), call.deadline):
            return self._read(data, call)

    def _read(self, data: bytes, call: Call) -> bytes:
        request = parsed(predict_pb2.PredictRequest, data)
        # Read first: what an error is counted under.
        call.model = request.model_spec.name
        target = PredictTarget(
            selector(request), request.model_spec.signature_name, tuple(request.output_filter)
        )
        with self._predictor.open(target.selector) as handle:
            call.version = handle.version
            # A few bytes can announce a large tensor: one that nobody asked for is not built.
            self._predictor.check_names(handle, target.signature, set(request.inputs))
            inputs, short = _inputs(request, strict=self._strict)
            del request  # a copy of all that was sent
            with self._repeating.take(_repetition(short), call.deadline):
                inputs |= {alias: one.array() for alias, one in short.items()}
                prediction = self._predictor.predict(
                    handle, target.signature, inputs, target.output_filter, call.deadline
                )
        call.signature = prediction.signature
        self._templates.learn(data, target, inputs)
        return predict_reply(call.model, prediction, tensor_content=self._tensor_content)


def _inputs(
    request: predict_pb2.PredictRequest, *, strict: bool
) -> tuple[dict[str, Array], dict[str, ShortTensor]]:
    """Return the inputs, and those of which fewer values were sent than the shape has."""
    inputs: dict[str, Array] = {}
    short: dict[str, ShortTensor] = {}
    for alias, proto in request.inputs.items():
        try:
            value = read_sent(proto, strict=strict)
        except (TensorError, OverflowError) as error:
            raise invalid_argument(f"tensor parsing error: {alias}: {error}") from error
        if isinstance(value, ShortTensor):
            short[alias] = value
        else:
            inputs[alias] = value
    return inputs, short


def _repetition(short: Mapping[str, ShortTensor]) -> int:
    """Return for how many bytes of repetition a request has to wait until there is room."""
    total = 0
    for alias, one in short.items():
        total += one.nbytes
        if total > _MAX_REPEATED:
            raise invalid_argument(f"tensor parsing error: {alias}: {one.fault}")
    return total if total > _FREE_REPEATED else 0


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
