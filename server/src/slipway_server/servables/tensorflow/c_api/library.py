"""TensorFlow's shared library and the types of the functions of its C API that are used here.

Declared in `tensorflow/c/c_api.h`, `tf_tensor.h`, `tf_tstring.h` and `c_api_experimental.h`, which come with the wheel.
What only reads a field is called with the interpreter's lock held: giving it away and waiting for it again costs more
than the call, and every request makes a dozen of them. Everything that may take long gives it away.
"""

import ctypes
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from slipway_server.tensorflow_library.lean_import import c_api_library

Pointer, Long = ctypes.c_void_p, ctypes.c_int64
_Text, _Int, _Size = ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t

_Function = Callable[..., Any]


class Buffer(ctypes.Structure):
    """`TF_Buffer`."""

    _fields_ = (("data", Pointer), ("length", _Size), ("deallocator", Pointer))


class Output(ctypes.Structure):
    """`TF_Output`."""

    _fields_ = (("operation", Pointer), ("index", _Int))


class CApi:
    """The functions, named as in the C API, less `TF_` and in Python's spelling.

    Raises:
        OSError: there is no such library, or it lacks a library of its own.
        AttributeError: it lacks one of the functions.
    """

    def __init__(self, path: str) -> None:
        self._long = ctypes.CDLL(path)
        self._short = ctypes.PyDLL(path)
        self._declare_graphs()
        self._declare_sessions()
        self._declare_tensors()
        self._declare_checkpoints()

    def _takes_long(self, name: str, result: Any, *arguments: Any) -> _Function:
        return _declared(self._long, name, result, arguments)

    def _returns_at_once(self, name: str, result: Any, *arguments: Any) -> _Function:
        return _declared(self._short, name, result, arguments)

    def _declare_graphs(self) -> None:
        quick, slow = self._returns_at_once, self._takes_long
        buffer, longs = ctypes.POINTER(Buffer), ctypes.POINTER(Long)
        self.new_status = quick("TF_NewStatus", Pointer)
        self.delete_status = quick("TF_DeleteStatus", None, Pointer)
        self.get_code = quick("TF_GetCode", _Int, Pointer)
        self.message = quick("TF_Message", _Text, Pointer)
        self.new_graph = slow("TF_NewGraph", Pointer)
        self.delete_graph = slow("TF_DeleteGraph", None, Pointer)
        self.new_import_options = quick("TF_NewImportGraphDefOptions", Pointer)
        self.delete_import_options = quick("TF_DeleteImportGraphDefOptions", None, Pointer)
        self.add_input_mapping = quick(
            "TF_ImportGraphDefOptionsAddInputMapping", None, Pointer, _Text, _Int, Output
        )
        self.import_graph = slow("TF_GraphImportGraphDef", None, Pointer, buffer, Pointer, Pointer)
        # These wait for the graph's own lock, which an import may hold on another thread.
        self.operation_by_name = slow("TF_GraphOperationByName", Pointer, Pointer, _Text)
        self.number_of_outputs = quick("TF_OperationNumOutputs", _Int, Pointer)
        self.output_type = quick("TF_OperationOutputType", _Int, Output)
        self.tensor_rank = slow("TF_GraphGetTensorNumDims", _Int, Pointer, Output, Pointer)
        self.tensor_shape = slow(
            "TF_GraphGetTensorShape", None, Pointer, Output, longs, _Int, Pointer
        )

    def _declare_sessions(self) -> None:
        quick, slow = self._returns_at_once, self._takes_long
        outputs, pointers = ctypes.POINTER(Output), ctypes.POINTER(Pointer)
        self.new_session_options = quick("TF_NewSessionOptions", Pointer)
        self.delete_session_options = quick("TF_DeleteSessionOptions", None, Pointer)
        self.set_config = quick("TF_SetConfig", None, Pointer, _Text, _Size, Pointer)
        self.new_session = slow("TF_NewSession", Pointer, Pointer, Pointer, Pointer)
        self.close_session = slow("TF_CloseSession", None, Pointer, Pointer)
        self.delete_session = slow("TF_DeleteSession", None, Pointer, Pointer)
        self.run_session = slow(
            "TF_SessionRun",
            None,
            Pointer,
            ctypes.POINTER(Buffer),
            *(outputs, pointers, _Int),
            *(outputs, pointers, _Int),
            *(pointers, _Int),
            Pointer,
            Pointer,
        )

    def _declare_tensors(self) -> None:
        quick, slow = self._returns_at_once, self._takes_long
        longs, buffer = ctypes.POINTER(Long), ctypes.POINTER(Buffer)
        self.allocate_tensor = quick("TF_AllocateTensor", Pointer, _Int, longs, _Int, _Size)
        self.delete_tensor = quick("TF_DeleteTensor", None, Pointer)
        self.tensor_type = quick("TF_TensorType", _Int, Pointer)
        self.dimensions = quick("TF_NumDims", _Int, Pointer)
        self.dimension = quick("TF_Dim", Long, Pointer, _Int)
        self.byte_size = quick("TF_TensorByteSize", _Size, Pointer)
        self.data = quick("TF_TensorData", Pointer, Pointer)
        self.tensor_from_proto = slow("TF_TensorFromProto", None, buffer, Pointer, Pointer)
        self.string_data = quick("TF_StringGetDataPointer", Pointer, Pointer)
        self.string_size = quick("TF_StringGetSize", _Size, Pointer)

    def _declare_checkpoints(self) -> None:
        quick, slow = self._returns_at_once, self._takes_long
        longs = ctypes.POINTER(Long)
        self.new_reader = slow("TF_NewCheckpointReader", Pointer, _Text, Pointer)
        self.delete_reader = slow("TF_DeleteCheckpointReader", None, Pointer)
        self.reader_size = quick("TF_CheckpointReaderSize", _Int, Pointer)
        self.reader_variable = quick("TF_CheckpointReaderGetVariable", _Text, Pointer, _Int)
        self.reader_rank = quick("TF_CheckpointReaderGetVariableNumDims", _Int, Pointer, _Text)
        self.reader_shape = quick(
            "TF_CheckpointReaderGetVariableShape", None, Pointer, _Text, longs, _Int, Pointer
        )


def _declared(
    library: ctypes.CDLL, name: str, result: Any, arguments: tuple[Any, ...]
) -> _Function:
    function: Any = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    declared: _Function = function
    return declared


@cache
def c_api() -> CApi:
    """Return the library, loaded once for the process."""
    return CApi(str(c_api_library()))


def when_unused(owner: object, delete: _Function, pointer: int) -> None:
    """Delete what an object owns with the last reference to it; at the end of the process nothing."""
    weakref.finalize(owner, delete, pointer).atexit = False


def buffer_of(data: Any) -> Buffer:
    """Return a `TF_Buffer` over what an object holds; the object must live as long as it is used."""
    # Not `ctypes.from_buffer`, which refuses what cannot be written.
    view = np.frombuffer(data, np.uint8)
    return Buffer(view.ctypes.data, view.nbytes, None)
