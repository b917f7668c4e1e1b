"""TensorFlow Serving's gRPC API, as a client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from slipway_cli.errors import CliError, RequestError, UnavailableError
from slipway_cli.serving.address import ModelAddress
from slipway_cli.serving.client import Answer, Connection
from slipway_cli.serving.instances import Question, columns, named, printable, rows
from slipway_cli.serving.signature import Signature, Signatures, chosen, of_messages
from slipway_cli.serving.tensors import decode, encode
from slipway_cli.wire import serving_pb2 as wire

_SERVICE: Final = "/tensorflow.serving.PredictionService"
_LATER: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
    }
)
_THIS_REQUEST: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
_ANY_SIZE: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)

_Answer = TypeVar("_Answer", bound=Message)


class GrpcClient:
    """A model over gRPC (see ModelClient)."""

    def __init__(self, model: ModelAddress, connection: Connection) -> None:
        self._model = model
        self._timeout = connection.timeout
        self._metadata = tuple((name.lower(), value) for name, value in connection.headers.items())
        if model.server.scheme == "grpcs":
            credentials = grpc.ssl_channel_credentials(connection.certificates())
            self._channel = grpc.secure_channel(model.server.target, credentials, _ANY_SIZE)
        else:
            self._channel = grpc.insecure_channel(model.server.target, _ANY_SIZE)
        self._lock = threading.Lock()
        self._known: tuple[int | None, Signatures] | None = None

    def signatures(self) -> tuple[int | None, Signatures]:
        """Return the version that answers, and its signatures (see ModelClient)."""
        request = wire.GetModelMetadataRequest(
            model_spec=self._spec(""), metadata_field=["signature_def"]
        )
        answer = self._call("GetModelMetadata", request, wire.GetModelMetadataResponse.FromString)
        found = wire.SignatureDefMap()
        try:
            found.ParseFromString(answer.metadata["signature_def"].value)
        except DecodeError as error:
            raise CliError(f"{self._model} answered with metadata that is none") from error
        return _version(answer.model_spec), of_messages(dict(found.signature_def))

    def predict(self, question: Question, signature: str) -> Answer:
        """Ask (see ModelClient)."""
        key, asked = self._signature(signature)
        request = wire.PredictRequest(model_spec=self._spec(key))
        rows_asked = question.instances
        values = named(question.inputs, asked) if rows_asked is None else columns(rows_asked, asked)
        for name, value in values.items():
            request.inputs[name].CopyFrom(encode(value, asked.inputs[name], name))
        answer = self._call("Predict", request, wire.PredictResponse.FromString)
        outputs: dict[str, Any] = {
            name: printable(decode(tensor, name), name)
            for name, tensor in sorted(answer.outputs.items())
        }
        version = _version(answer.model_spec)
        if question.instances is not None:
            return Answer(rows(outputs, len(question.instances)), None, version)
        whole = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return Answer(None, whole, version)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connection."""
        self._channel.close()

    def _signature(self, key: str) -> tuple[str, Signature]:
        """What the model wants, asked for once."""
        with self._lock:
            if self._known is None:
                self._known = self.signatures()
            return chosen(self._known[1], key, str(self._model))

    def _spec(self, signature: str) -> wire.ModelSpec:
        spec = wire.ModelSpec(name=self._model.name, signature_name=signature)
        if self._model.version is not None:
            spec.version.value = self._model.version
        if self._model.label:
            spec.version_label = self._model.label
        return spec

    def _call(self, method: str, request: Message, parse: Callable[[bytes], _Answer]) -> _Answer:
        call: Callable[..., _Answer] = self._channel.unary_unary(
            f"{_SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=parse,
        )
        try:
            return call(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failure(error) from error
        except ValueError as error:
            raise CliError(f"{self._model} was not asked: {error}") from error

    def _failure(self, error: Any) -> CliError:
        code, details = error.code(), " ".join(str(error.details() or "").split())
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return CliError(
                f"{self._model.server} does not have TensorFlow Serving's gRPC API: is another program "
                "listening there?"
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return UnavailableError(
                f"{self._model} did not answer in time: give it more with --timeout"
            )
        if code is grpc.StatusCode.UNAVAILABLE:
            return UnavailableError(
                f"no connection to {self._model.server}: {details}; is the server up, and the port that of "
                "gRPC (8500)?"
            )
        message = f"{self._model} refused the request ({code.name}): {details}"
        if "larger than max" in details:  # Too much in one message: no pause helps.
            return RequestError(message)
        if code in _LATER:
            return UnavailableError(message)
        return RequestError(message) if code in _THIS_REQUEST else CliError(message)


def _version(spec: wire.ModelSpec) -> int | None:
    return spec.version.value if spec.HasField("version") else None
