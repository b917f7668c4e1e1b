"""A session over a graph, and runs of it on the thread that asks."""

import ctypes
import os
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from tensorflow.core.protobuf import config_pb2

from slipway_server.servables.signature import Array
from slipway_server.servables.tensorflow.c_api.graph import Graph
from slipway_server.servables.tensorflow.c_api.library import (
    Output,
    Pointer,
    buffer_of,
    c_api,
    when_unused,
)
from slipway_server.servables.tensorflow.c_api.status import Status
from slipway_server.servables.tensorflow.c_api.tensors import delete_all, to_array, to_tensor

_ON_CALLER: Final = config_pb2.RunOptions(inter_op_thread_pool=-1).SerializeToString()
"""No pool: the operations run one after the other on the thread that asked."""


class Session:
    """A `TF_Session`. Its memory is given back when neither it nor a `Call` of it is referenced any more.

    So a run that is in flight keeps what it uses, whatever happens to the version meanwhile.

    Attributes:
        graph: that it runs.
        pointer: the `TF_Session*`.

    Raises:
        ServingError: TensorFlow's code and message, when it refuses the options.
    """

    def __init__(self, graph: Graph, config: config_pb2.ConfigProto) -> None:
        self.graph = graph
        self._library = library = c_api()
        data = config.SerializeToString()
        options = library.new_session_options()
        try:
            with Status() as status:
                library.set_config(options, data, len(data), status.pointer)
                status.check()
                self.pointer: int = library.new_session(graph.pointer, options, status.pointer)
                status.check()
        finally:
            library.delete_session_options(options)
        when_unused(self, _delete, self.pointer)

    def execute(self, operation: str, feeds: Mapping[str, str]) -> None:
        """Run an operation once, on TensorFlow's own threads, with strings for tensors.

        Raises:
            ServingError: TensorFlow's code and message.
        """
        call = Call(self, tuple(feeds), (), target=operation, on_caller=False)
        call(*(np.array(os.fsencode(value), object) for value in feeds.values()))

    def extend(self, definition: bytes, tensors: Sequence[str]) -> None:
        """Add a serialized GraphDef, of names that are new, whose inputs may be some tensors of the graph.

        Raises:
            ServingError: TensorFlow's code and message.
        """
        self.graph.add(definition, tensors)

    def close(self) -> None:
        """Cancel what runs and refuse what comes."""
        with Status() as status:
            self._library.close_session(self.pointer, status.pointer)


def _delete(session: int) -> None:
    with Status() as status:
        c_api().delete_session(session, status.pointer)


class Call:
    """A function from the fed arrays, in order, to the fetched ones.

    Args:
        session: that runs it.
        feeds: names of tensors.
        fetches: names of tensors.
        target: an operation to run besides; empty for none.
        on_caller: run the operations on the thread that asks; otherwise on TensorFlow's inter-op pool.

    Raises:
        ServingError: the graph has no such tensor or operation.
    """

    def __init__(
        self,
        session: Session,
        feeds: Sequence[str],
        fetches: Sequence[str],
        *,
        target: str = "",
        on_caller: bool = True,
    ) -> None:
        graph = session.graph
        self._session = session
        self._run = c_api().run_session
        self._inputs = (Output * len(feeds))(*(graph.fed(name) for name in feeds))
        self._outputs = (Output * len(fetches))(*(graph.fetched(name) for name in fetches))
        self._targets = (Pointer * bool(target))(*([graph.target(target)] if target else ()))
        self._values, self._results = Pointer * len(feeds), Pointer * len(fetches)
        self._options = ctypes.byref(buffer_of(_ON_CALLER)) if on_caller else None

    def __call__(self, *feeds: Array) -> list[Array]:
        """Run it.

        Raises:
            ServingError: TensorFlow's code and message.
        """
        values, results = self._values(), self._results()
        taken = 0
        try:
            for number, feed in enumerate(feeds):
                values[number] = to_tensor(feed)
            with Status() as status:
                self._run(
                    self._session.pointer,
                    self._options,
                    *(self._inputs, values, len(values)),
                    *(self._outputs, results, len(results)),
                    *(self._targets, len(self._targets)),
                    None,
                    status.pointer,
                )
                status.check()
            found = []
            for result in results:
                taken += 1
                found.append(to_array(result))
            return found
        finally:
            delete_all(values)
            delete_all(results[taken:])
