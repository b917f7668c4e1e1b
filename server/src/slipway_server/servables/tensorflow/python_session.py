"""Graphs and sessions through TensorFlow's Python API, for builds whose private layout `native` does not know.

Results and errors are those of `native`. What differs is the cost: every operation becomes a Python object, under the
interpreter's lock, so that loading a large model holds up requests for that long; and a released model's memory comes
back only with the garbage collector.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import config_pb2

from slipway_server.errors import invalid_argument
from slipway_server.servables.signature import Array
from slipway_server.servables.tensorflow.failures import translated
from slipway_server.servables.tensorflow.session import TensorType


class PythonGraph:
    """A graph of Python objects (`session.Graph`).

    Args:
        definition: a serialized GraphDef.

    Raises:
        ServingError: TensorFlow's code and message, when the definition is no graph it knows.
    """

    def __init__(self, definition: bytes | memoryview) -> None:
        self.python = tf.Graph()
        try:
            message = graph_pb2.GraphDef.FromString(bytes(definition))
        except DecodeError as error:
            raise invalid_argument("Invalid GraphDef") from error
        with translated(), self.python.as_default():
            tf.compat.v1.import_graph_def(message, name="")

    def add(self, definition: bytes, tensors: Sequence[str]) -> None:
        """Import another GraphDef, whose inputs may be some tensors of this one."""
        message = graph_pb2.GraphDef.FromString(definition)
        known = {tensor: self.python.get_tensor_by_name(tensor) for tensor in tensors}
        with self.python.as_default():
            tf.compat.v1.import_graph_def(message, input_map=known, name="")

    def has_operation(self, name: str) -> bool:
        """Whether the graph has an operation of that name."""
        return self._operation(name) is not None

    def tensor(self, name: str) -> TensorType | None:
        """Return what is known about `operation:index`; None when there is no such tensor."""
        operation_name, _, index = name.partition(":")
        operation = self._operation(operation_name)
        if operation is None or not (index or "0").isdecimal():
            return None
        number = int(index or 0)
        if number >= len(operation.outputs):
            return None
        tensor = operation.outputs[number]
        shape = None
        if tensor.shape.rank is not None:
            shape = tuple(-1 if size is None else int(size) for size in tensor.shape.as_list())
        return TensorType(int(tensor.dtype.as_datatype_enum), shape)

    def _operation(self, name: str) -> tf.Operation | None:
        try:
            return self.python.get_operation_by_name(name)
        except (KeyError, ValueError):
            return None


class PythonSession:
    """A `tf.compat.v1.Session` (`session.GraphSession`)."""

    def __init__(self, graph: PythonGraph, config: config_pb2.ConfigProto) -> None:
        self.graph = graph
        self._session = tf.compat.v1.Session(graph=graph.python, config=config)

    def compile(self, options: config_pb2.CallableOptions) -> Callable[..., Sequence[Array]]:
        """Return a function from the fed arrays, in order, to the fetched ones."""
        # Not the public `make_callable`: with feeds it is `Session.run`, which casts what it is given and checks shapes
        # in words of its own, so that the same request would be answered otherwise than by `native`.
        call: Callable[..., Sequence[Array]] = self._session._make_callable_from_options(options)  # noqa: SLF001
        return call

    def execute(self, operation: str, feeds: Mapping[str, str]) -> None:
        """Run an operation once, on TensorFlow's own threads, with strings for tensors."""
        values = {tensor: np.array(value.encode(), object) for tensor, value in feeds.items()}
        self._session.run(self.graph.python.get_operation_by_name(operation), values)

    def extend(self, definition: bytes, tensors: Sequence[str]) -> None:
        """Add a serialized GraphDef, of names that are new, whose inputs may be some tensors of the graph."""
        self.graph.add(definition, tensors)

    def addresses(self) -> None:
        """Return that it is not known where the session is."""

    def close(self) -> None:
        """Cancel what runs and refuse what comes."""
        self._session.close()
