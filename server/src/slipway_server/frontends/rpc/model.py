"""GetModelMetadata and GetModelStatus."""

from slipway_server.core.states import StateMonitor, VersionState
from slipway_server.errors import Code, invalid_argument
from slipway_server.frontends.codec.models import model_states, signature_def_map
from slipway_server.frontends.rpc.requests import parsed, selector
from slipway_server.inference.predictor import Predictor
from slipway_server.observability.telemetry import Call
from slipway_server.wire.tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2


class ModelMethods:
    """Handlers of GetModelMetadata and GetModelStatus."""

    def __init__(self, predictor: Predictor, monitor: StateMonitor) -> None:
        self._predictor = predictor
        self._monitor = monitor

    def metadata(self, data: bytes, call: Call) -> bytes:
        """Answer a GetModelMetadataRequest."""
        request = parsed(get_model_metadata_pb2.GetModelMetadataRequest, data)
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
        with self._predictor.open(selector(request)) as handle:
            call.version = handle.version
            reply = get_model_metadata_pb2.GetModelMetadataResponse()
            reply.model_spec.name = handle.model
            reply.model_spec.version.value = handle.version
            reply.metadata["signature_def"].Pack(signature_def_map(handle.content))
        return bytes(reply.SerializeToString())

    def status(self, data: bytes, call: Call) -> bytes:
        """Answer a GetModelStatusRequest; a label is ignored, as TensorFlow Serving does."""
        request = parsed(get_model_status_pb2.GetModelStatusRequest, data)
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
