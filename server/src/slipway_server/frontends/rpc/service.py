"""PredictionService and ModelService: request bytes in, reply bytes out.

The handlers take and return bytes: gRPC then parses nothing on its own threads, and Predict builds its reply without
protobuf objects.
"""

import time
from collections.abc import Callable
from typing import Final

import grpc

from slipway_server.core.states import StateMonitor
from slipway_server.errors import Code, ServingError, deadline_exceeded
from slipway_server.frontends.rpc.classification import ExampleMethods
from slipway_server.frontends.rpc.model import ModelMethods
from slipway_server.frontends.rpc.prediction import PredictMethod
from slipway_server.frontends.telemetry import Call, Telemetry
from slipway_server.inference.predictor import Predictor

Method = Callable[[bytes, grpc.ServicerContext], bytes]

QUESTIONS: Final = frozenset({"/tensorflow.serving.ModelService/GetModelStatus"})
"""Methods that are answered also when every thread works."""

_MAX_MESSAGE: Final = 1024
"""Bytes."""
_TRUNCATED: Final = "...TRUNCATED"
# gRPC says "no deadline" with a time in the far future; ten years are as good, and safe to wait for.
_NEVER_SECONDS: Final = 3.2e8


class Services:
    """The methods of both services, by full name.

    Args:
        reload: answers HandleReloadConfigRequest, given its bytes and its deadline.
        tensor_content: write Predict outputs as `tensor_content`.
    """

    def __init__(
        self,
        predictor: Predictor,
        monitor: StateMonitor,
        telemetry: Telemetry,
        *,
        reload: Callable[[bytes, float | None], bytes],
        tensor_content: bool,
    ) -> None:
        self._reload = reload
        self._telemetry = telemetry
        self._predict = PredictMethod(predictor, tensor_content=tensor_content)
        self._examples = ExampleMethods(predictor)
        self._model = ModelMethods(predictor, monitor)

    def methods(self) -> dict[str, Method]:
        """Return the handlers by path, `/package.Service/Method`."""
        prediction, model = (
            "/tensorflow.serving.PredictionService/",
            "/tensorflow.serving.ModelService/",
        )
        return {
            prediction + "Predict": self._method("Predict", self._predict),
            prediction + "Classify": self._method("Classify", self._examples.classify),
            prediction + "Regress": self._method("Regress", self._examples.regress),
            prediction + "MultiInference": self._method(
                "MultiInference", self._examples.multi_inference
            ),
            prediction + "GetModelMetadata": self._method("GetModelMetadata", self._model.metadata),
            model + "GetModelStatus": self._method("GetModelStatus", self._model.status),
            model + "HandleReloadConfigRequest": self._method(
                "HandleReloadConfigRequest",
                lambda data, call: self._reload(data, call.deadline),
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
    data = error.message.encode("utf-8", "replace")
    message = data.decode()
    if len(data) > _MAX_MESSAGE:
        message = data[: _MAX_MESSAGE - len(_TRUNCATED)].decode("utf-8", "ignore") + _TRUNCATED
    context.abort(_STATUS[int(error.code)], message)
