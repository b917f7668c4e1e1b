"""gRPC server reflection: grpcurl and its like learn services and messages from the server, without .proto files."""

from collections.abc import Iterator
from typing import Final, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from slipway_server.frontends.rpc.transport.server import RpcStream
from slipway_server.wire.inference import open_inference_pb2
from slipway_server.wire.tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

_DESCRIBED: Final = (
    prediction_service_pb2,
    model_service_pb2,
    open_inference_pb2,
    health_pb2,
    reflection_pb2,
)
# The two versions differ in nothing but their name; clients of today ask for the first one first.
_SERVICES: Final = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)


def reflection_streams() -> dict[str, RpcStream]:
    """Return the one method of the service by path, in both its versions."""
    servicer = reflection.ReflectionServicer(
        [
            service.full_name
            for module in _DESCRIBED
            for service in module.DESCRIPTOR.services_by_name.values()
        ]
    )

    def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        messages = (_parsed(data, context) for data in requests)
        for reply in servicer.ServerReflectionInfo(messages, context):
            yield reply.SerializeToString()

    return {f"/{service}/ServerReflectionInfo": answer for service in _SERVICES}


def _parsed(data: bytes, context: grpc.ServicerContext) -> "reflection_pb2.ServerReflectionRequest":
    try:
        return reflection_pb2.ServerReflectionRequest.FromString(data)
    except DecodeError:
        _refuse(context)


def _refuse(context: grpc.ServicerContext) -> NoReturn:
    context.abort(
        grpc.StatusCode.INVALID_ARGUMENT, "The request is not a ServerReflectionRequest message"
    )
