"""PredictionService and ModelService: request bytes in, reply bytes out.

The handlers take and return bytes: gRPC then parses nothing on its own threads, and Predict builds its reply without
protobuf objects.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from slipway_server.core.states import StateMonitor
from slipway_server.frontends.room import Room
from slipway_server.frontends.rpc.classification import ExampleMethods
from slipway_server.frontends.rpc.instrumentation import CallHandler, instrumented
from slipway_server.frontends.rpc.model import ModelMethods
from slipway_server.frontends.rpc.prediction import PredictMethod
from slipway_server.frontends.rpc.reload import ReloadCallers, check_caller
from slipway_server.frontends.rpc.transport.server import RpcMethod
from slipway_server.inference.predictor import Predictor
from slipway_server.observability.telemetry import Telemetry

STATUS_METHODS: Final = frozenset({"/tensorflow.serving.ModelService/GetModelStatus"})
"""Methods that answer also while every inference thread is busy."""

RELOAD_METHODS: Final = frozenset({"/tensorflow.serving.ModelService/HandleReloadConfigRequest"})
"""Methods that may take minutes; they run apart, so that they block no thread of others."""


class Services:
    """The methods of both services, by full name.

    Args:
        parsing: what messages take together while they are parsed and answered.
        reload: answers HandleReloadConfigRequest, given its bytes and its deadline.
        reload_callers: who may call it.
        tensor_content: write Predict outputs as `tensor_content`.
        strict_types: as in `PredictMethod`.
    """

    def __init__(
        self,
        predictor: Predictor,
        monitor: StateMonitor,
        telemetry: Telemetry,
        *,
        parsing: Room,
        reload: Callable[[bytes, float | None], bytes],
        reload_callers: ReloadCallers,
        tensor_content: bool,
        strict_types: bool = True,
    ) -> None:
        self._reload = reload
        self._reload_callers = reload_callers
        self._telemetry = telemetry
        self._predict = PredictMethod(
            predictor, parsing, tensor_content=tensor_content, strict_types=strict_types
        )
        self._examples = ExampleMethods(predictor, parsing)
        self._model = ModelMethods(predictor, monitor)

    def methods(self) -> dict[str, RpcMethod]:
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
            model + "HandleReloadConfigRequest": instrumented(
                self._telemetry,
                "HandleReloadConfigRequest",
                lambda data, call: self._reload(data, call.deadline),
                check=partial(check_caller, self._reload_callers),
            ),
        }

    def _method(self, name: str, answer: CallHandler) -> RpcMethod:
        return instrumented(self._telemetry, name, answer)
