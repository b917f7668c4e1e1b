"""What is run: a graph and a session over it, whichever way they are made (`native`, `python_session`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tensorflow.core.protobuf import config_pb2

from slipway_server.servables.signature import Array


@dataclass(frozen=True, slots=True)
class TensorType:
    """What a graph says about a tensor.

    Attributes:
        dtype: wire number of its element type.
        shape: -1 for a dimension of any size; None when not even the rank is known.
    """

    dtype: int
    shape: tuple[int, ...] | None


class Graph(Protocol):
    """An imported GraphDef."""

    def has_operation(self, name: str) -> bool:
        """Whether the graph has an operation of that name."""
        ...

    def tensor(self, name: str) -> TensorType | None:
        """Return what is known about `operation:index`; None when there is no such tensor."""
        ...


class GraphSession(Protocol):
    """A session over a graph; its methods raise TensorFlow's errors, as `failures.translated` has them.

    Its memory is given back when neither the session nor a function that `compile` returned is referenced any more.
    """

    @property
    def graph(self) -> Graph:
        """The graph that it runs."""
        ...

    def compile(self, options: config_pb2.CallableOptions) -> Callable[..., Sequence[Array]]:
        """Return a function from the fed arrays, in order, to the fetched ones."""
        ...

    def execute(self, operation: str, feeds: Mapping[str, str]) -> None:
        """Run an operation once, on TensorFlow's own threads, with strings for tensors."""
        ...

    def extend(self, definition: bytes, tensors: Sequence[str]) -> None:
        """Add a serialized GraphDef, of names that are new, whose inputs may be some tensors of the graph."""
        ...

    def addresses(self) -> tuple[int, int] | None:
        """Return where the `TF_Session` and its `TF_Graph` are; None where that cannot be told."""
        ...

    def close(self) -> None:
        """Cancel what runs and refuse what comes."""
        ...
