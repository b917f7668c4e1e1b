"""Predict: TensorProtos in and out."""

from typing import Final

from tensorflow_serving.apis import predict_pb2

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.protobuf_wire import delimited
from slipway_server.frontends.rpc.requests import parsed, selector, spec_field
from slipway_server.frontends.rpc.tensors import TensorError, read_tensor, write_tensor
from slipway_server.frontends.telemetry import Call
from slipway_server.inference.predictor import Prediction, Predictor

_MANY_INPUTS: Final = 100
"""No fewer are worth a look before their tensors are read."""


class PredictMethod:
    """The handler of Predict.

    Args:
        tensor_content: write outputs as `tensor_content`.
    """

    def __init__(self, predictor: Predictor, *, tensor_content: bool) -> None:
        self._predictor = predictor
        self._tensor_content = tensor_content

    def __call__(self, data: bytes, call: Call) -> bytes:
        """Answer a PredictRequest."""
        request = parsed(predict_pb2.PredictRequest, data)
        spec = request.model_spec
        call.model = spec.name
        with self._predictor.open(selector(request)) as handle:
            call.version = handle.version
            if len(request.inputs) > _MANY_INPUTS:
                self._predictor.check_names(handle, spec.signature_name, set(request.inputs))
            inputs = {}
            for alias, proto in request.inputs.items():
                try:
                    inputs[alias] = read_tensor(proto)
                except (TensorError, OverflowError) as error:
                    raise invalid_argument(f"tensor parsing error: {alias}: {error}") from error
            prediction = self._predictor.predict(
                handle, spec.signature_name, inputs, request.output_filter, call.deadline
            )
        call.signature = prediction.signature
        return predict_reply(spec.name, prediction, tensor_content=self._tensor_content)


def predict_reply(model: str, prediction: Prediction, *, tensor_content: bool) -> bytes:
    """Return the wire bytes of a PredictResponse.

    Raises:
        ServingError: an output has an element type that no message can hold.
    """
    parts = []
    for alias, value in prediction.outputs.items():
        try:
            tensor = write_tensor(value, as_content=tensor_content)
        except TensorError as error:
            raise ServingError(Code.UNIMPLEMENTED, f'Output "{alias}": {error}') from error
        parts.append(delimited(1, delimited(1, alias.encode()) + delimited(2, tensor)))
    parts.append(spec_field(2, model, prediction.version, prediction.signature))
    return b"".join(parts)
