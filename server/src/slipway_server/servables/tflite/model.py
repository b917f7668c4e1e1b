"""A loaded TensorFlow Lite file: a pool of interpreters, since one of them runs one request at a time."""

import queue
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from slipway_server.errors import Code, ServingError, deadline_exceeded, invalid_argument
from slipway_server.servables.formats import ServableFormat, UnsupportedError
from slipway_server.servables.rows import joined, single_rows
from slipway_server.servables.signature import Array, Signature
from slipway_server.servables.signature_def import as_signature_def
from slipway_server.servables.tflite.flatbuffer import (
    LiteSignature,
    custom_operations,
    lite_signatures,
)
from slipway_server.tensorflow_library.lite import Interpreter

_FILE_NAME: Final = "model.tflite"
_ONE_THREAD: Final = 1
_MAX_NAMED: Final = 5
_FLEX_ERROR: Final = "Select TensorFlow op"
"""The beginning of TensorFlow Lite's words for a file that needs the Flex delegate."""
_making: Final = threading.Lock()

_Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class TfLiteModel:
    """One loaded version.

    Attributes:
        signatures: by key.
        signature_defs: the same as TensorFlow's messages, for the metadata API.
        example_signatures: always empty; Classify and Regress use `signatures`.

    Args:
        content: the file.
        first: an interpreter of it; `others` are more of the same.
    """

    def __init__(self, content: bytes, first: Interpreter, others: Sequence[Interpreter]) -> None:
        lite = lite_signatures(content, first)
        self.signatures: Mapping[str, Signature] = {key: one.signature for key, one in lite.items()}
        self.signature_defs: Mapping[str, meta_graph_pb2.SignatureDef] = {
            key: as_signature_def(one) for key, one in self.signatures.items()
        }
        self.example_signatures: Mapping[str, Signature] = {}
        # The one that was used last comes first: its memory is warm.
        self._idle: queue.LifoQueue[dict[str, _Run]] = queue.LifoQueue()
        for interpreter in (*others, first):
            self._idle.put(_runs(interpreter, lite))

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,
    ) -> list[Array]:
        """Run a signature on the next idle interpreter.

        Args:
            signature: one of `signatures`.
            inputs: alias → value; exactly the signature's aliases. A file for one row is run once for each.
            outputs: aliases of the signature's outputs.
            deadline: seconds on `time.monotonic`, after which nothing is begun.

        Returns:
            One array for each of `outputs`; strings are arrays of `bytes` objects.

        Raises:
            ServingError: DEADLINE_EXCEEDED, INVALID_ARGUMENT for a value of the wrong element type, INTERNAL when the
                interpreter cannot run such shapes, UNIMPLEMENTED for a signature that was made of others.
        """
        if self.signatures.get(signature.key) is not signature:
            raise ServingError(
                Code.UNIMPLEMENTED, "A TfLite model cannot run several signatures at once"
            )
        runs = self._take(deadline)
        try:
            return _values(runs[signature.key], signature, inputs, outputs, deadline)
        except ValueError as error:
            raise invalid_argument(str(error)) from error
        except RuntimeError as error:
            raise ServingError(Code.INTERNAL, f"Failed to run interpreter: {error}") from error
        finally:
            self._idle.put(runs)

    def close(self) -> None:
        """Release the interpreters. Nobody uses the version any more, so all of them are idle."""
        while not self._idle.empty():
            self._idle.get_nowait()

    def _take(self, deadline: float | None) -> dict[str, _Run]:
        if deadline is None:
            return self._idle.get()
        left = deadline - time.monotonic()
        if left > 0:
            try:
                return self._idle.get(timeout=left)
            except queue.Empty:
                pass
        raise deadline_exceeded()


def _values(
    run: _Run,
    signature: Signature,
    inputs: Mapping[str, Array],
    outputs: Sequence[str],
    deadline: float | None,
) -> list[Array]:
    rows = single_rows(signature, inputs)
    if rows is None:
        values = run(inputs)
        return [values[alias] for alias in outputs]
    # A file for one row takes more of them only by chance: most reshape to `[1, …]` on the way.
    answers: list[list[Array]] = []
    for row in rows:
        if answers and deadline is not None and time.monotonic() >= deadline:
            raise deadline_exceeded()
        values = run(row)
        answers.append([values[alias] for alias in outputs])
    return joined(signature, outputs, answers)


def tflite_format(interpreters: int) -> ServableFormat:
    """Return the format of directories with a file `model.tflite`.

    Args:
        interpreters: requests that can run at a time on one version.
    """
    return ServableFormat(
        lambda directory: (directory / _FILE_NAME).exists(),
        lambda _model, _version, directory: _load(directory, interpreters),
    )


def _load(directory: Path, interpreters: int) -> TfLiteModel:
    """Load `model.tflite` of a version's directory.

    Args:
        directory: of the version.
        interpreters: requests that can run at a time.

    Raises:
        ServingError: INVALID_ARGUMENT when it is no such file.
        UnsupportedError: it needs operations that this build of TensorFlow Lite does not have.
    """
    path = directory / _FILE_NAME
    try:
        # Not mapped: a file that is truncated later must not crash the process.
        content = path.read_bytes()
    except OSError as error:
        raise ServingError(Code.UNAVAILABLE, f"Cannot read {path}: {error.strerror}") from error
    try:
        first, *others = (_interpreter(content) for _ in range(interpreters))
    except (RuntimeError, ValueError) as error:
        if lacking := _unresolved(str(error)) or _flex_operations(content, str(error)):
            raise _unsupported(path, lacking) from error
        raise invalid_argument(f"Cannot build an interpreter from {path}: {error}") from error
    # Interpreters look at no graph but the first; another one would fail its first request.
    if flex := _flex_operations(content):
        raise _unsupported(path, flex)
    return TfLiteModel(content, first, others)


def _unresolved(error: str) -> tuple[str, ...]:
    r"""Return the custom operation that an interpreter complains about.

    >>> _unresolved("Encountered unresolved custom op: Betainc.\nSee instructions: https://")
    ('Betainc',)
    """
    return tuple(re.findall(r"unresolved custom op: ([\w:]+)", error))


def _flex_operations(content: bytes, error: str = _FLEX_ERROR) -> tuple[str, ...]:
    """Return TensorFlow's own operations in a file whose interpreter says this error.

    They need the Flex delegate, which neither TensorFlow's wheels have since 2.20 nor the packages of LiteRT.
    """
    if _FLEX_ERROR not in error:  # the file may be anything
        return ()
    return tuple(one for one in custom_operations(content) if one.startswith("Flex"))


def _unsupported(path: Path, operations: Sequence[str]) -> UnsupportedError:
    named = ", ".join(operations[:_MAX_NAMED]) + (" and others" * (len(operations) > _MAX_NAMED))
    kind = (
        "TensorFlow operations (SELECT_TF_OPS)"
        if operations[0].startswith("Flex")
        else "custom operations"
    )
    return UnsupportedError(
        f"{path} needs {kind} that this build of TensorFlow Lite does not have: {named}. Serve it as a SavedModel, "
        "which may be in the same directory, or convert it with built-in operations only"
    )


def _interpreter(content: bytes) -> Interpreter:
    # The class is announced to move to a package of its own, which is of no use to who operates the server. The list
    # of filters is the process's, hence the lock.
    with _making, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        interpreter = Interpreter(model_content=content, num_threads=_ONE_THREAD)
    interpreter.allocate_tensors()
    return interpreter


def _runs(interpreter: Interpreter, lite: Mapping[str, LiteSignature]) -> dict[str, _Run]:
    """Return what runs each signature on one interpreter."""
    return {
        key: _by_runner(interpreter.get_signature_runner(one.runner))
        if one.runner is not None
        else _by_tensors(interpreter, one)
        for key, one in lite.items()
    }


def _by_runner(runner: Any) -> _Run:
    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        found: Mapping[str, Array] = runner(**inputs)
        return found

    return run


def _by_tensors(interpreter: Interpreter, lite: LiteSignature) -> _Run:
    shapes: dict[int, tuple[int, ...]] = {}

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        wanted = {lite.inputs[alias]: np.shape(value) for alias, value in inputs.items()}
        if wanted != shapes:
            shapes.clear()  # what a failure below leaves behind is not known
            for index, shape in wanted.items():
                interpreter.resize_tensor_input(index, shape)
            interpreter.allocate_tensors()
            shapes.update(wanted)
        for alias, value in inputs.items():
            interpreter.set_tensor(lite.inputs[alias], value)
        interpreter.invoke()
        return {alias: interpreter.get_tensor(index) for alias, index in lite.outputs.items()}

    return run
