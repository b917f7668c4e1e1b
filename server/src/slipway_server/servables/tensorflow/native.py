"""Graphs and sessions straight on TensorFlow's C API, so that loading holds up no request.

TensorFlow's Python `import_graph_def` and `Session` hold the interpreter's lock while they copy and parse the graph
and while they make a Python object for every operation: 0.1 s for 5000 operations, a second for a 200 MB constant,
with reference cycles that only the collector finds. A server needs none of these objects. Here the import runs through
ctypes, which gives the lock away, on the file's own bytes. Running stays with TensorFlow's Python module: its
`TF_SessionRunCallable` turns arrays into tensors and back faster than anything written in Python could.

The one thing that module does not hand out is the address of a graph. In the TensorFlow versions that the package
allows (`pyproject.toml`) it is the field of `PyGraph` after those of every Python object; `unsupported` says when the
layout is another one, and `python_session` serves then. All that depends on TensorFlow's private names is here.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Self

import numpy as np
from tensorflow.core.protobuf import config_pb2

from slipway_server.errors import Code, ServingError
from slipway_server.servables.signature import Array
from slipway_server.servables.tensorflow.session import TensorType
from slipway_server.tensorflow_library.names import C_API, LIBRARIES
from slipway_server.tensorflow_library.names import session_api as python_api

_GRAPH_FIELD: Final = 32
"""Where `PyGraph` keeps its `TF_Graph*`, in bytes."""
_LAYOUT: Final = (16, 24, 112)
"""Of the `PyGraph` in which that is so: offsets of the dictionary and of the weak references, size."""
_SESSION_FIELD: Final = 16
"""Where `TF_Session`'s Python object keeps its address, in bytes."""
_SESSION_SIZE: Final = 56
"""Of the object in which that is so."""
_UNKNOWN_RANK: Final = -1

_POINTER, _TEXT, _INT, _LONG = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int64


class _Buffer(ctypes.Structure):
    """`TF_Buffer`."""

    _fields_ = (("data", _POINTER), ("length", ctypes.c_size_t), ("deallocator", _POINTER))


class _Output(ctypes.Structure):
    """`TF_Output`."""

    _fields_ = (("operation", _POINTER), ("index", _INT))


@cache
def _c_api() -> ctypes.CDLL:
    """Return the library, which is in memory already, with the types of the functions that are used here."""
    library = ctypes.CDLL(str(LIBRARIES / C_API))
    for name, result, arguments in (
        ("TF_NewStatus", _POINTER, ()),
        ("TF_DeleteStatus", None, (_POINTER,)),
        ("TF_GetCode", _INT, (_POINTER,)),
        ("TF_Message", _TEXT, (_POINTER,)),
        ("TF_NewImportGraphDefOptions", _POINTER, ()),
        ("TF_DeleteImportGraphDefOptions", None, (_POINTER,)),
        (
            "TF_ImportGraphDefOptionsAddInputMapping",
            None,
            (_POINTER, _TEXT, _INT, _Output),
        ),
        (
            "TF_GraphImportGraphDef",
            None,
            (_POINTER, ctypes.POINTER(_Buffer), _POINTER, _POINTER),
        ),
        ("TF_GraphOperationByName", _POINTER, (_POINTER, _TEXT)),
        ("TF_OperationNumOutputs", _INT, (_POINTER,)),
        ("TF_OperationOutputType", _INT, (_Output,)),
        ("TF_GraphGetTensorNumDims", _INT, (_POINTER, _Output, _POINTER)),
        (
            "TF_GraphGetTensorShape",
            None,
            (_POINTER, _Output, ctypes.POINTER(_LONG), _INT, _POINTER),
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Status:
    def __init__(self) -> None:
        self.pointer = _c_api().TF_NewStatus()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _c_api().TF_DeleteStatus(self.pointer)

    def check(self) -> None:
        if code := _c_api().TF_GetCode(self.pointer):
            message = _c_api().TF_Message(self.pointer).decode("utf-8", "replace")
            raise ServingError(Code(code), message)


def unsupported() -> str:
    """Return why this build of TensorFlow cannot be used this way, or an empty string when it can."""
    kind = getattr(python_api, "PyGraph", None)
    if kind is None:
        return "there is no PyGraph"
    layout = (kind.__dictoffset__, kind.__weakrefoffset__, kind.__basicsize__)
    if layout != _LAYOUT:
        return f"the layout of PyGraph is {layout}, not {_LAYOUT}"
    try:
        _c_api()
    except (OSError, AttributeError) as error:
        return f"the C API cannot be reached: {error}"
    return ""


class NativeGraph:
    """A graph without Python objects for its operations (`session.Graph`); only where `unsupported` finds nothing.

    Attributes:
        address: of the `TF_Graph`.

    Args:
        definition: a serialized GraphDef; not copied, and not needed afterwards.

    Raises:
        ServingError: TensorFlow's code and message, when the definition is no graph it knows.
    """

    def __init__(self, definition: bytes | memoryview) -> None:
        self.python = python_api.PyGraph()
        self.address = _graph_address(self.python)
        self.add(definition, ())

    def add(self, definition: bytes | memoryview, tensors: Sequence[str]) -> None:
        """Import another GraphDef, whose inputs may be some tensors of this one.

        Raises:
            ServingError: as when this one was imported.
        """
        data = np.frombuffer(definition, np.uint8)
        buffer = _Buffer(data.ctypes.data, data.nbytes, None)
        library = _c_api()
        options = library.TF_NewImportGraphDefOptions()
        try:
            for tensor in tensors:
                name, _, index = tensor.partition(":")
                output = _Output(self._operation(name), int(index))
                library.TF_ImportGraphDefOptionsAddInputMapping(
                    options, name.encode(), output.index, output
                )
            with _Status() as status:
                library.TF_GraphImportGraphDef(
                    self.address, ctypes.byref(buffer), options, status.pointer
                )
                status.check()
        finally:
            library.TF_DeleteImportGraphDefOptions(options)

    def has_operation(self, name: str) -> bool:
        """Whether the graph has an operation of that name."""
        return self._operation(name) is not None

    def tensor(self, name: str) -> TensorType | None:
        """Return what is known about `operation:index`; None when there is no such tensor."""
        operation_name, _, index = name.partition(":")
        operation = self._operation(operation_name)
        if operation is None or not (index or "0").isdecimal():
            return None
        library = _c_api()
        number = int(index or 0)
        if number >= library.TF_OperationNumOutputs(operation):
            return None
        output = _Output(operation, number)
        with _Status() as status:
            rank = library.TF_GraphGetTensorNumDims(self.address, output, status.pointer)
            status.check()
            sizes = (_LONG * max(rank, 0))()
            if rank > 0:
                library.TF_GraphGetTensorShape(self.address, output, sizes, rank, status.pointer)
                status.check()
        shape = None if rank == _UNKNOWN_RANK else tuple(sizes)
        return TensorType(library.TF_OperationOutputType(output), shape)

    def _operation(self, name: str) -> int | None:
        found: int | None = _c_api().TF_GraphOperationByName(self.address, name.encode())
        return found


def _graph_address(graph: Any) -> int:
    """Return the `TF_Graph*` that a Python graph wraps."""
    return int(_POINTER.from_address(id(graph) + _GRAPH_FIELD).value or 0)


class NativeSession:
    """A session over such a graph (`session.GraphSession`)."""

    def __init__(self, graph: NativeGraph, config: config_pb2.ConfigProto) -> None:
        self.graph = graph
        self._session: Any = None
        options = python_api.TF_NewSessionOptions(target=b"", config=config)
        try:
            self._session = python_api.TF_NewSessionRef(graph.python, options)
        finally:
            python_api.TF_DeleteSessionOptions(options)
        python_api.ExtendSession(self._session)

    def compile(self, options: config_pb2.CallableOptions) -> Callable[..., Sequence[Array]]:
        """Return a function from the fed arrays, in order, to the fetched ones."""
        handle = self._make(options)
        run = python_api.TF_SessionRunCallable

        def call(*feeds: Array) -> Sequence[Array]:
            return run(self._session, handle, feeds, None)  # type: ignore[no-any-return]

        return call

    def execute(self, operation: str, feeds: Mapping[str, str]) -> None:
        """Run an operation once, on TensorFlow's own threads, with strings for tensors."""
        options = config_pb2.CallableOptions(feed=list(feeds), target=[operation])
        handle = self._make(options)
        try:
            values = tuple(np.array(value.encode(), dtype=object) for value in feeds.values())
            python_api.TF_SessionRunCallable(self._session, handle, values, None)
        finally:
            python_api.TF_SessionReleaseCallable(self._session, handle)

    def extend(self, definition: bytes, tensors: Sequence[str]) -> None:
        """Add a serialized GraphDef, of names that are new, whose inputs may be some tensors of the graph."""
        self.graph.add(definition, tensors)
        python_api.ExtendSession(self._session)

    def addresses(self) -> tuple[int, int] | None:
        """Return where the `TF_Session` and its `TF_Graph` are; None when the layout is not the one that is known."""
        session = _POINTER.from_address(id(self._session) + _SESSION_FIELD).value
        if type(self._session).__basicsize__ != _SESSION_SIZE or not session:
            return None
        # `TF_Session` begins with TensorFlow's own session and the graph: so a wrong address is noticed.
        graph = (_POINTER * 2).from_address(session)[1]
        return (session, graph) if graph == self.graph.address else None

    def close(self) -> None:
        """Cancel what runs and refuse what comes."""
        python_api.TF_CloseSession(self._session)

    def __del__(self) -> None:
        if self._session is not None:
            python_api.TF_DeleteSession(self._session)

    def _make(self, options: config_pb2.CallableOptions) -> int:
        buffer = python_api.TF_NewBufferFromString(options.SerializeToString())
        try:
            return int(python_api.TF_SessionMakeCallable(self._session, buffer))
        finally:
            python_api.TF_DeleteBuffer(buffer)
