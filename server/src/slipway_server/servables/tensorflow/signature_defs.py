"""TensorFlow's signature messages as this server's, completed from the graph where they say too little."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import structlog
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from slipway_server.errors import ServingError
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec
from slipway_server.servables.tensorflow.c_api.graph import TensorType
from slipway_server.servables.tensorflow.c_api.tensors import from_proto

FindTensor = Callable[[str], TensorType | None]
"""What the graph says about a tensor; None when it has none of that name."""

_SPARSE_PARTS: Final = (
    ("dense_shape", "dense_shape_tensor_name", DType.INT64, (-1,)),
    ("indices", "indices_tensor_name", DType.INT64, (-1, -1)),
)

_REFERENCE: Final = types_pb2.DT_FLOAT_REF - types_pb2.DT_FLOAT

_log = structlog.get_logger("slipway_server.loader")


def completed(
    definition: meta_graph_pb2.SignatureDef, find: FindTensor
) -> meta_graph_pb2.SignatureDef:
    """Return a signature whose plain tensors have types and shapes, read from the graph where it names none."""
    result = meta_graph_pb2.SignatureDef()
    result.CopyFrom(definition)
    for infos in (result.inputs, result.outputs):
        for info in infos.values():
            if not info.name or (info.dtype and info.HasField("tensor_shape")):
                continue
            if (tensor := find(info.name)) is None:
                continue
            if not info.dtype:
                info.dtype = _value_type(tensor.dtype)
            if not info.HasField("tensor_shape"):
                info.tensor_shape.SetInParent()
                info.tensor_shape.unknown_rank = tensor.shape is None
                for size in tensor.shape or ():
                    info.tensor_shape.dim.add(size=size)
    return result


def read_signature(
    key: str, definition: meta_graph_pb2.SignatureDef, *, stateful: bool = False
) -> Signature:
    """Return a signature in this server's form.

    A sparse tensor is offered as its three parts, `alias/values`, `alias/indices` and `alias/dense_shape`, another
    composite one as `alias/0`, `alias/1` and so on, since a request can carry dense tensors only.
    """
    inputs, outputs = (
        {alias: spec for name in sorted(infos) for alias, spec in _specs(name, infos[name])}
        for infos in (definition.inputs, definition.outputs)
    )
    return Signature(
        key=key,
        method=definition.method_name,
        inputs=inputs,
        outputs=outputs,
        defaults=_defaults(key, definition, inputs),
        stateful=stateful,
    )


def _specs(alias: str, info: meta_graph_pb2.TensorInfo) -> Iterator[tuple[str, TensorSpec]]:
    match info.WhichOneof("encoding"):
        case "coo_sparse":
            sparse = info.coo_sparse
            for part, field, dtype, shape in _SPARSE_PARTS:
                yield f"{alias}/{part}", TensorSpec(getattr(sparse, field), dtype, shape)
            yield (
                f"{alias}/values",
                TensorSpec(sparse.values_tensor_name, _dtype(info.dtype), (-1,)),
            )
        case "composite_tensor":
            for index, component in enumerate(info.composite_tensor.components):
                yield from _specs(f"{alias}/{index}", component)
        case _:
            yield alias, TensorSpec(info.name, _dtype(info.dtype), _shape(info))


def _shape(info: meta_graph_pb2.TensorInfo) -> tuple[int, ...] | None:
    if info.tensor_shape.unknown_rank or not info.HasField("tensor_shape"):
        return None
    return tuple(dim.size for dim in info.tensor_shape.dim)


def _dtype(number: int) -> DType:
    return DType.of(_value_type(number))


def _value_type(number: int) -> int:
    """Return the type of what is fetched: of a reference to a variable, its value."""
    return number - _REFERENCE if number > _REFERENCE else number


def _defaults(
    key: str, definition: meta_graph_pb2.SignatureDef, inputs: Mapping[str, TensorSpec]
) -> dict[str, Array]:
    defaults = {}
    for alias, value in definition.defaults.items():
        if alias not in inputs:
            continue
        try:
            defaults[alias] = from_proto(value)
        except ServingError as error:
            # Requests must then bring the input; the signature works otherwise.
            _log.warning("default not usable", signature=key, input=alias, error=str(error))
    return defaults
