"""What a server needs of TensorFlow, each from the module that defines it.

These modules depend on few others. The public names for the same things (`tf.errors.OpError`, `tf.make_ndarray` and so
on) are in the package's `__init__`, which imports all the rest first.
"""

from pathlib import Path
from typing import Final

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.interpreter import Interpreter
from tensorflow.python.client import pywrap_tf_session as session_api
from tensorflow.python.framework.dtypes import as_dtype
from tensorflow.python.framework.errors_impl import OpError
from tensorflow.python.framework.tensor_util import MakeNdarray as make_ndarray  # noqa: N813 - its public name
from tensorflow.python.lib.io._pywrap_record_io import RecordIterator
from tensorflow.python.lib.io.tf_record import TFRecordWriter
from tensorflow.python.profiler.internal._pywrap_profiler import (
    start_server as start_profiler_server,
)
from tensorflow.python.training.py_checkpoint_reader import NewCheckpointReader

VERSION: Final[str] = session_api.__version__

LIBRARIES: Final = Path(session_api.__file__).parents[2]
"""The directory with TensorFlow's shared libraries."""

C_API: Final = "libtensorflow_cc.so.2"
"""The one of them with TensorFlow's C API."""

__all__ = [
    "C_API",
    "LIBRARIES",
    "VERSION",
    "Interpreter",
    "NewCheckpointReader",
    "OpError",
    "RecordIterator",
    "TFRecordWriter",
    "as_dtype",
    "make_ndarray",
    "schema",
    "session_api",
    "start_profiler_server",
]
