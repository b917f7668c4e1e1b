"""What a TensorFlow Lite file promises: its signatures, from one of three places.

1. TensorFlow's own SignatureDefs in the file's metadata, as TensorFlow Serving reads them: their aliases stand for
   tensors of the first graph in the file.
2. The signatures of the file format, as every converter of today writes them.
3. Neither: one signature, `serving_default`, whose aliases are the names of the tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flatbuffers import flexbuffers
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2

from slipway_server.errors import invalid_argument
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Signature, TensorSpec
from slipway_server.tensorflow_library.lite import Interpreter, as_dtype, schema

_DEFAULT_KEY: Final = "serving_default"
_PREDICT: Final = "tensorflow/serving/predict"
_SIGNATURE_DEFS: Final = b"signature_defs_metadata"


@dataclass(frozen=True, slots=True, eq=False)
class LiteSignature:
    """A signature and how it is run.

    Attributes:
        runner: the file's own signature that runs it; None for the file's first graph.
        inputs: alias → index of the tensor in that graph; empty when `runner` is given. Likewise `outputs`.
    """

    signature: Signature
    runner: str | None
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


def lite_signatures(content: bytes, interpreter: Interpreter) -> dict[str, LiteSignature]:
    """Return the signatures of a file by key.

    Args:
        content: the file.
        interpreter: of that file.

    Raises:
        ServingError: INVALID_ARGUMENT when its SignatureDefs cannot be used.
    """
    if definition := _signature_def(content):
        return {_DEFAULT_KEY: _of_tensors(interpreter, definition)}
    if own := interpreter.get_signature_list():
        return {key: _of_runner(key, interpreter.get_signature_runner(key)) for key in sorted(own)}
    return {_DEFAULT_KEY: _of_tensors(interpreter, None)}


def custom_operations(content: bytes) -> tuple[str, ...]:
    """Return the names of the operations in a file that TensorFlow Lite does not define itself.

    Those that begin with `Flex` are TensorFlow's (`SELECT_TF_OPS`).

    Args:
        content: the file, of which an interpreter could be made.
    """
    model = schema.Model.GetRootAs(content, 0)
    codes = (
        model.OperatorCodes(index).CustomCode() for index in range(model.OperatorCodesLength())
    )
    return tuple(sorted({code.decode("utf-8", "replace") for code in codes if code}))


def _of_runner(key: str, runner: Any) -> LiteSignature:
    inputs, outputs = (
        {alias: _spec(found[alias]) for alias in sorted(found)}
        for found in (runner.get_input_details(), runner.get_output_details())
    )
    return LiteSignature(Signature(key, _PREDICT, inputs, outputs), key, {}, {})


def _of_tensors(
    interpreter: Interpreter, definition: meta_graph_pb2.SignatureDef | None
) -> LiteSignature:
    sides = []
    for details, infos in (
        (interpreter.get_input_details(), definition.inputs if definition else {}),
        (interpreter.get_output_details(), definition.outputs if definition else {}),
    ):
        aliases = {_operation(info.name): alias for alias, info in infos.items()}
        found = {_alias(one["name"], aliases, definition): one for one in details}
        if len(found) != len(details):
            raise invalid_argument("Two tensors of the TfLite model have the same name")
        sides.append({alias: found[alias] for alias in sorted(found)})
    inputs, outputs = ({alias: _spec(one) for alias, one in side.items()} for side in sides)
    return LiteSignature(
        Signature(
            _DEFAULT_KEY, definition.method_name if definition else _PREDICT, inputs, outputs
        ),
        None,
        *({alias: int(one["index"]) for alias, one in side.items()} for side in sides),
    )


def _alias(
    tensor: str, aliases: Mapping[str, str], definition: meta_graph_pb2.SignatureDef | None
) -> str:
    if definition is None:
        return tensor
    alias = aliases.get(_operation(tensor))
    if alias is None:
        raise invalid_argument(
            f"The SignatureDef of the TfLite model does not name tensor {tensor}"
        )
    return alias


def _operation(tensor: str) -> str:
    return tensor.partition(":")[0]


def _spec(detail: Mapping[str, Any]) -> TensorSpec:
    # The shape that is allocated now has sizes where the signature leaves them open.
    open_shape = detail["shape_signature"]
    shape = open_shape if len(open_shape) else detail["shape"]
    return TensorSpec(
        str(detail["name"]),
        DType.of(as_dtype(detail["dtype"]).as_datatype_enum),
        tuple(int(size) for size in shape),
    )


def _signature_def(content: bytes) -> meta_graph_pb2.SignatureDef | None:
    serialized = _serialized_signature_defs(content)
    if not serialized:
        return None
    if len(serialized) > 1:
        raise invalid_argument("Multiple SignatureDefs found in TfLite model")
    definition = meta_graph_pb2.SignatureDef()
    try:
        definition.ParseFromString(serialized[0])
    except DecodeError as error:
        raise invalid_argument(f"Invalid SignatureDefs found in TfLite model: {error}") from error
    return definition


def _serialized_signature_defs(content: bytes) -> list[bytes]:
    # The interpreter was made from the same bytes, so the flatbuffer itself is sound; what it holds may not be.
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        metadata = model.Metadata(index)
        if metadata.Name() != _SIGNATURE_DEFS:
            continue
        try:
            data = bytes(model.Buffers(metadata.Buffer()).DataAsNumpy())
            values = flexbuffers.GetRoot(data).AsMap.Values
            return [bytes(value.AsStringBytes) for value in values]
        except Exception as error:
            raise invalid_argument(
                f"Invalid SignatureDefs found in TfLite model: {error}"
            ) from error
    return []
