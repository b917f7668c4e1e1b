"""`inference.GRPCInferenceService`: request bytes in, reply bytes out."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError

from slipway_server.errors import invalid_argument
from slipway_server.frontends.codec.cost import INFER, parsing_cost
from slipway_server.frontends.oip.grpc_tensors import (
    read_request,
    signature_of,
    write_reply,
)
from slipway_server.frontends.oip.models import OipModels, TensorMetadata
from slipway_server.frontends.oip.server_metadata import (
    EXTENSIONS,
    GRPC_SERVICE,
    SERVER_NAME,
    TRUE,
)
from slipway_server.frontends.room import Room
from slipway_server.frontends.rpc.instrumentation import instrumented
from slipway_server.frontends.rpc.transport.server import RpcMethod
from slipway_server.observability.telemetry import Call, Telemetry
from slipway_server.wire.inference import open_inference_pb2 as pb

OIP_STATUS_METHODS: Final = frozenset(
    {GRPC_SERVICE + name for name in ("ServerMetadata", "ModelReady")}
)
"""Methods that answer also while every inference thread is busy."""


class GrpcInferenceService:
    """The methods about models.

    Args:
        parsing: what messages take together while they are parsed and answered.
        version: the server's own.
    """

    def __init__(
        self, models: OipModels, telemetry: Telemetry, parsing: Room, version: str
    ) -> None:
        self._parsing = parsing
        self._models = models
        self._telemetry = telemetry
        self._version = version

    def methods(self) -> Mapping[str, RpcMethod]:
        """Return the handlers by path, `/package.Service/Method`."""
        answers: dict[str, Callable[[bytes, Call], bytes]] = {
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._ready,
            "ModelMetadata": self._metadata,
            "ModelInfer": self._infer,
        }
        return {
            GRPC_SERVICE + name: instrumented(self._telemetry, name, answer)
            for name, answer in answers.items()
        }

    def _server_metadata(self, _data: bytes, _call: Call) -> bytes:
        reply = pb.ServerMetadataResponse(
            name=SERVER_NAME, version=self._version, extensions=EXTENSIONS
        )
        return bytes(reply.SerializeToString())

    def _ready(self, data: bytes, call: Call) -> bytes:
        request = _parsed(pb.ModelReadyRequest(), data)
        call.model = request.name
        return TRUE if self._models.ready(request.name, request.version) else b""

    def _metadata(self, data: bytes, call: Call) -> bytes:
        request = _parsed(pb.ModelMetadataRequest(), data)
        call.model = request.name
        found = self._models.metadata(request.name, request.version, call)
        reply = pb.ModelMetadataResponse(
            name=found.name,
            versions=found.versions,
            platform=found.platform,
            inputs=map(_tensor, found.inputs),
            outputs=map(_tensor, found.outputs),
        )
        return bytes(reply.SerializeToString())

    def _infer(self, data: bytes, call: Call) -> bytes:
        with self._parsing.take(parsing_cost(data, INFER), call.deadline):
            return self._read(data, call)

    def _read(self, data: bytes, call: Call) -> bytes:
        message = _parsed(pb.ModelInferRequest(), data)
        call.model = message.model_name
        names = {tensor.name for tensor in message.inputs}
        self._models.check_names(
            message.model_name, message.model_version, signature_of(message), names
        )
        request = read_request(message)
        prediction = self._models.infer(request, call)
        return write_reply(request, prediction, raw=bool(message.raw_input_contents))


def _tensor(one: TensorMetadata) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=one.name, datatype=one.datatype, shape=one.shape
    )


def _parsed(message: Any, data: bytes) -> Any:
    parsing_cost(data, {})
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise invalid_argument(f"The request is not a {message.DESCRIPTOR.name} message") from error
    return message
