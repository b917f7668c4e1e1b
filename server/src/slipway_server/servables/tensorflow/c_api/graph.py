"""A graph without Python objects for its operations.

TensorFlow's Python `import_graph_def` holds the interpreter's lock while it copies and parses a graph and makes an
object for every operation: 0.1 s for 5000 operations, a second for a 200 MB constant. Here the import runs on the
file's own bytes, without the lock.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

from slipway_server.errors import invalid_argument
from slipway_server.servables.tensorflow.c_api.library import (
    Long,
    Output,
    buffer_of,
    c_api,
    when_unused,
)
from slipway_server.servables.tensorflow.c_api.status import Status


@dataclass(frozen=True, slots=True)
class TensorType:
    """What a graph says about a tensor.

    Attributes:
        dtype: wire number of its element type.
        shape: -1 for a dimension of any size; None when not even the rank is known.
    """

    dtype: int
    shape: tuple[int, ...] | None


class Graph:
    """An imported GraphDef. Its memory is given back with the last reference.

    Attributes:
        pointer: the `TF_Graph*`.

    Args:
        definition: a serialized GraphDef; not copied, and not needed afterwards.

    Raises:
        ServingError: TensorFlow's code and message, when the definition is no graph it knows.
    """

    def __init__(self, definition: bytes | memoryview) -> None:
        self._library = c_api()
        self.pointer: int = self._library.new_graph()
        when_unused(self, self._library.delete_graph, self.pointer)
        self.add(definition, ())

    def add(self, definition: bytes | memoryview, tensors: Sequence[str]) -> None:
        """Import another GraphDef, whose inputs may be some tensors of this one.

        Raises:
            ServingError: as when this one was imported.
        """
        buffer = buffer_of(definition)
        options = self._library.new_import_options()
        try:
            for tensor in tensors:
                name, _, index = tensor.partition(":")
                self._library.add_input_mapping(
                    options, name.encode(), int(index), Output(self.operation(name), int(index))
                )
            with Status() as status:
                self._library.import_graph(
                    self.pointer, ctypes.byref(buffer), options, status.pointer
                )
                status.check()
        finally:
            self._library.delete_import_options(options)

    def operation(self, name: str) -> int | None:
        """Return the `TF_Operation*` of that name; None when there is none."""
        found: int | None = self._library.operation_by_name(self.pointer, name.encode())
        return found

    def tensor(self, name: str) -> TensorType | None:
        """Return what is known about `operation:index`; None when there is no such tensor."""
        operation, number = self._parsed(name)
        if operation is None or number is None or number >= self._outputs(operation):
            return None
        output = Output(operation, number)
        with Status() as status:
            rank = self._library.tensor_rank(self.pointer, output, status.pointer)
            status.check()
            sizes = (Long * max(rank, 0))()
            if rank > 0:
                self._library.tensor_shape(self.pointer, output, sizes, rank, status.pointer)
                status.check()
        return TensorType(self._library.output_type(output), tuple(sizes) if rank >= 0 else None)

    def fed(self, name: str) -> Output:
        """Return the tensor of that name, which is to be fed.

        Raises:
            ServingError: there is none; in the words in which TensorFlow refuses to compile a run.
        """
        return self._output(name, "FeedInputs: {} should have output index < {}")

    def fetched(self, name: str) -> Output:
        """Return the tensor of that name, which is to be fetched.

        Raises:
            ServingError: as `fed`.
        """
        return self._output(name, "FetchOutputs {}: output index too large, must be < {}")

    def _output(self, name: str, too_large: str) -> Output:
        operation, number = self._parsed(name)
        if operation is None:
            raise invalid_argument(
                f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
            )
        count = self._outputs(operation)
        if number is None or number >= count:
            raise invalid_argument(too_large.format(name, count))
        return Output(operation, number)

    def target(self, name: str) -> int:
        """Return the `TF_Operation*` of that name, which is to be run.

        Raises:
            ServingError: there is none.
        """
        operation = self.operation(name)
        if operation is None:
            raise invalid_argument(f"The graph has no operation {name}, which its export names")
        return operation

    def _parsed(self, name: str) -> tuple[int | None, int | None]:
        """Return the operation and the index that a tensor's name says; None for what is not there or no number."""
        operation, _, index = name.partition(":")
        number = index or "0"
        return self.operation(operation), int(number) if number.isdecimal() else None

    def _outputs(self, operation: int) -> int:
        count: int = self._library.number_of_outputs(operation)
        return count
