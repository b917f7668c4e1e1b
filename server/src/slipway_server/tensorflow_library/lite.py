"""TensorFlow Lite's interpreter and what is needed to read its files: they come only with the Python package.

Each is taken from the module that defines it, which depends on few others; to be imported by `lean_import.import_part`.
"""

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.interpreter import Interpreter
from tensorflow.python.framework.dtypes import as_dtype

__all__ = ["Interpreter", "as_dtype", "schema"]
