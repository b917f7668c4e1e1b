"""ModelService.HandleReloadConfigRequest: other models from now on."""

from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry
from tensorflow_serving.apis import model_management_pb2

from slipway_server.control.model_config import model_configs
from slipway_server.control.reload import ConfiguredModels
from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.observability.families import counter_values


class ReloadMethod:
    """Bytes of a ReloadConfigRequest in, bytes of a ReloadConfigResponse out.

    Args:
        models: receives the new configuration.
        registry: has the counters whose increase a request may ask for.
    """

    def __init__(self, models: ConfiguredModels, registry: CollectorRegistry) -> None:
        self._models = models
        self._registry = registry

    def __call__(self, data: bytes, deadline: float | None) -> bytes:
        """Answer one request.

        Args:
            data: the request.
            deadline: when its caller stops to listen, in monotonic seconds.

        Raises:
            ServingError: the status of the reload, if that is not OK.
        """
        try:
            request = model_management_pb2.ReloadConfigRequest.FromString(data)
        except DecodeError as error:
            raise ServingError(
                Code.INTERNAL, "The request is not a ReloadConfigRequest message"
            ) from error
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        before = counter_values(self._registry, request.metric_names)
        self._models.apply_and_wait(model_configs(request.config) or (), deadline)
        reply = model_management_pb2.ReloadConfigResponse()
        reply.status.error_code = int(Code.OK)
        after = counter_values(self._registry, request.metric_names)
        for name in dict.fromkeys(request.metric_names):
            # What is no counter, or has no series yet, did not increase: every name that was asked for is answered.
            increase = after.get(name, 0) - before.get(name, 0)
            reply.metric.add(name=name, int64_value_increase=increase)
        return bytes(reply.SerializeToString())
