"""PredictionService and ModelService: request bytes in, reply bytes out.

The handlers take and return bytes: gRPC then parses nothing on its own threads, and Predict builds its reply without
protobuf objects.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from slipway_server.core.serving_map import Selector
from slipway_server.core.states import StateMonitor, VersionState
from slipway_server.errors import Code, ServingError, deadline_exceeded, invalid_argument
from slipway_server.frontends.metadata import signature_def_map
from slipway_server.frontends.rpc.tensors import (
    TensorError,
    delimited,
    read_tensor,
    varint,
    write_tensor,
)
from slipway_server.frontends.status import model_states
from slipway_server.frontends.telemetry import Call, Telemetry
from slipway_server.inference.predictor import Prediction, Predictor

Method = Callable[[bytes, grpc.ServicerContext], bytes]

QUESTIONS: Final = frozenset({"/tensorflow.serving.ModelService/GetModelStatus"})
"""Methods that are answered also when every thread works."""

_MAX_MESSAGE: Final = 1024
_TRUNCATED: Final = "...TRUNCATED"
# gRPC says "no deadline" with a time in the far future; ten years are as good, and safe to wait for.
_NEVER_SECONDS: Final = 3.2e8


class Services:
    """The methods of both services, by full name.

    Args:
        tensor_content: write Predict outputs as `tensor_content`.
    """

    def __init__(
        self,
        predictor: Predictor,
        monitor: StateMonitor,
        telemetry: Telemetry,
        *,
        tensor_content: bool,
    ) -> None:
        self._predictor = predictor
        self._monitor = monitor
        self._telemetry = telemetry
        self._tensor_content = tensor_content

    def methods(self) -> dict[str, Method]:
        """Return the handlers by path, `/package.Service/Method`."""
        prediction, model = (
            "/tensorflow.serving.PredictionService/",
            "/tensorflow.serving.ModelService/",
        )
        return {
            prediction + "Predict": self._method("Predict", self._predict),
            prediction + "GetModelMetadata": self._method("GetModelMetadata", self._metadata),
            prediction + "Classify": self._method("Classify", _unimplemented("Classify")),
            prediction + "Regress": self._method("Regress", _unimplemented("Regress")),
            prediction + "MultiInference": self._method(
                "MultiInference", _unimplemented("MultiInference")
            ),
            model + "GetModelStatus": self._method("GetModelStatus", self._status),
            model + "HandleReloadConfigRequest": self._method(
                "HandleReloadConfigRequest", _unimplemented("HandleReloadConfigRequest")
            ),
        }

    def _method(self, name: str, answer: Callable[[bytes, Call], bytes]) -> Method:
        telemetry = self._telemetry

        def method(request: bytes, context: grpc.ServicerContext) -> bytes:
            call = telemetry.begin(name, "GRPC")
            try:
                call.deadline = _deadline(context)
                reply = answer(request, call)
            except ServingError as error:
                telemetry.end(call, error.code)
                _abort(context, error)
            except Exception:
                telemetry.end(call, Code.INTERNAL)
                raise
            telemetry.end(call, Code.OK)
            return reply

        return method

    def _predict(self, data: bytes, call: Call) -> bytes:
        request = _parsed(predict_pb2.PredictRequest, data)
        spec = request.model_spec
        call.model = spec.name
        with self._predictor.open(_selector(spec)) as handle:
            call.version = handle.version
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

    def _metadata(self, data: bytes, call: Call) -> bytes:
        request = _parsed(get_model_metadata_pb2.GetModelMetadataRequest, data)
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        call.model = request.model_spec.name
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(f"Metadata field {field} is not supported")
        with self._predictor.open(_selector(request.model_spec)) as handle:
            call.version = handle.version
            reply = get_model_metadata_pb2.GetModelMetadataResponse()
            reply.model_spec.name = handle.model
            reply.model_spec.version.value = handle.version
            reply.metadata["signature_def"].Pack(signature_def_map(handle.content))
        return bytes(reply.SerializeToString())

    def _status(self, data: bytes, call: Call) -> bytes:
        request = _parsed(get_model_status_pb2.GetModelStatusRequest, data)
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
        call.model = spec.name
        version = spec.version.value if spec.HasField("version") else None
        reply = get_model_status_pb2.GetModelStatusResponse()
        for state in model_states(self._monitor, spec.name, version):
            _add_state(reply, state)
        return bytes(reply.SerializeToString())


def _add_state(reply: get_model_status_pb2.GetModelStatusResponse, state: VersionState) -> None:
    entry = reply.model_version_status.add(version=state.version, state=int(state.availability))
    entry.status.error_code = int(state.error.code) if state.error else int(Code.OK)
    entry.status.error_message = state.error.message if state.error else ""


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
    parts.append(_spec_field(model, prediction.version, prediction.signature))
    return b"".join(parts)


@lru_cache(maxsize=1024)  # as many as loaded signatures, give or take
def _spec_field(model: str, version: int, signature: str) -> bytes:
    spec = (
        delimited(1, model.encode())
        + delimited(2, b"\x08" + varint(version % (1 << 64)))
        + delimited(3, signature.encode())
    )
    return delimited(2, spec)


def _selector(spec: model_pb2.ModelSpec) -> Selector:
    choice = spec.WhichOneof("version_choice")
    if choice == "version":
        return Selector(spec.name, version=spec.version.value)
    if choice == "version_label":
        return Selector(spec.name, label=spec.version_label)
    return Selector(spec.name)


def _parsed(kind: Callable[[], Any], data: bytes) -> Any:
    message: Message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ServingError(
            Code.INTERNAL, f"The request is not a {message.DESCRIPTOR.name} message"
        ) from error
    return message


def _unimplemented(name: str) -> Callable[[bytes, Call], bytes]:
    def answer(_data: bytes, _call: Call) -> bytes:
        raise ServingError(Code.UNIMPLEMENTED, f"{name} is not implemented by this server yet")

    return answer


def _deadline(context: grpc.ServicerContext) -> float | None:
    """Return until when the client waits, on the monotonic clock; refuse the call when that has passed.

    The client hears of a deadline that passes later from gRPC itself, at that moment.
    """
    remaining = context.time_remaining()
    if remaining is None or remaining > _NEVER_SECONDS:  # type: ignore[redundant-expr] # the stubs forget None
        return None
    if remaining <= 0:
        raise deadline_exceeded()
    return time.monotonic() + remaining


_STATUS: Final = {status.value[0]: status for status in grpc.StatusCode}


def _abort(context: grpc.ServicerContext, error: ServingError) -> None:
    """End the call with a status; gRPC carries it in a header, so a long message is cut as TensorFlow Serving does."""
    message = error.message
    if len(message) > _MAX_MESSAGE:
        message = message[: _MAX_MESSAGE - len(_TRUNCATED)] + _TRUNCATED
    context.abort(_STATUS[int(error.code)], message)
