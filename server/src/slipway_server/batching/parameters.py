"""How requests are batched: TensorFlow Serving's `BatchingParameters`, read and checked."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from google.protobuf import text_format

from slipway_server.errors import ServingError, invalid_argument
from slipway_server.text_files import read_message
from slipway_server.wire import batching_parameters_pb2

PER_MODEL_FILE: Final = "batching_params.pbtxt"
_NAME_WITHOUT_FILE: Final = "model_server_batch_threads"


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """Checked parameters. Sizes are rows: the 0th dimension of every input.

    Attributes:
        max_batch_size: rows of one request; of one batch as well, unless requests are split.
        batch_timeout: seconds that the first request of a batch may wait for it to fill.
        max_enqueued_batches: batches of one queue that may wait.
        num_batch_threads: batches that run at a time, over all models.
        allowed_batch_sizes: ascending; a batch is filled up to the next of them. Empty means any size.
        pad_variable_length_inputs: bring inputs of different inner shapes to the largest of them.
        enable_large_batch_splitting: run a request that is larger than a batch in several.
        max_execution_batch_size: rows of one batch, `max_batch_size` unless requests are split.
    """

    max_batch_size: int = 1000
    batch_timeout: float = 0.0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 1000

    def allowed(self, rows: int) -> int:
        """Return the size to which a batch is filled up.

        >>> parameters_from_text("max_batch_size { value: 8 } allowed_batch_sizes: [2, 8]").allowed(3)
        8
        """
        for size in self.allowed_batch_sizes:
            if size >= rows:
                return size
        return rows


def parameters_without_file() -> BatchingParameters:
    """Return what holds when batching is on and nothing else is said."""
    return BatchingParameters(thread_pool_name=_NAME_WITHOUT_FILE)


def parameters_from_text(text: str) -> BatchingParameters:
    """Read parameters from a text message.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    message = batching_parameters_pb2.BatchingParameters()
    try:
        text_format.Parse(text, message)
    except (text_format.ParseError, RecursionError) as error:
        raise invalid_argument(
            f"Invalid batching parameters: {error}{_right_form(text)}"
        ) from error
    return _checked(message)


def read_parameters(path: str) -> BatchingParameters:
    """Read parameters from a text file.

    Raises:
        ServingError: NOT_FOUND or INVALID_ARGUMENT.
    """
    try:
        return _checked(read_message(path, batching_parameters_pb2.BatchingParameters()))
    except ServingError as error:
        with suppress(OSError, UnicodeDecodeError):
            if form := _right_form(Path(path).read_text(encoding="utf-8")):
                raise ServingError(error.code, error.message + form) from error
        raise


_PLAIN_VALUE: Final = re.compile(
    r"""["']?\b(?P<name>[a-z_]+)\b["']?\s*[:=]\s*(?P<value>[\w.+-]+|"[^"\n]*"|'[^'\n]*')""",
    re.ASCII,
)


def _right_form(text: str) -> str:
    """Return how parameters are written that somebody gave as plain values, or nothing when there are none.

    >>> _right_form("max_batch_size: 32 allowed_batch_sizes: 8")
    '; write max_batch_size { value: 32 } instead of max_batch_size: 32'
    """
    fields = batching_parameters_pb2.BatchingParameters.DESCRIPTOR.fields_by_name
    for found in _PLAIN_VALUE.finditer(text):
        field = fields.get(found["name"])
        if field is not None and field.message_type is not None:
            right = f"{found['name']} {{ value: {found['value']} }}"
            return f"; write {right} instead of {found.group().strip()}"
    return ""


def _checked(message: batching_parameters_pb2.BatchingParameters) -> BatchingParameters:
    """Fill in the defaults and refuse what contradicts itself. The sentences are TensorFlow's."""

    def number(name: str, default: int) -> int:
        return int(getattr(message, name).value) if message.HasField(name) else default

    defaults = BatchingParameters()
    largest = number("max_batch_size", defaults.max_batch_size)
    allowed = tuple(int(size) for size in message.allowed_batch_sizes)
    timeout = number("batch_timeout_micros", 0)
    waiting = number("max_enqueued_batches", defaults.max_enqueued_batches)
    threads = number("num_batch_threads", defaults.num_batch_threads)
    splitting = message.enable_large_batch_splitting.value
    executed = number("max_execution_batch_size", largest) if splitting else largest
    for name, value in (
        ("max_batch_size", largest),
        ("num_batch_threads", threads),
        ("max_execution_batch_size", executed),
    ):
        if value < 1:
            raise invalid_argument(f"{name} must be positive; was {value}")
    for name, value in (("batch_timeout_micros", timeout), ("max_enqueued_batches", waiting)):
        if value < 0:
            raise invalid_argument(f"{name} must be non-negative; was {value}")
    if executed > largest:
        raise invalid_argument(
            "When enable_large_batch_splitting is true, max_batch_size must be greater than or equal to "
            f"max_execution_batch_size; they are {largest} and {executed}"
        )
    if allowed and allowed[-1] != largest:
        raise invalid_argument(
            "Last entry in allowed_batch_sizes must match max_batch_size; "
            f"last entry was {allowed[-1]}; expected {largest}"
        )
    if any(low >= high for low, high in pairwise((0, *allowed))):
        raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
    return BatchingParameters(
        max_batch_size=largest,
        batch_timeout=timeout / 1e6,
        # TensorFlow takes 0 for 1, too: with no batch at all nothing could ever run.
        max_enqueued_batches=max(waiting, 1),
        num_batch_threads=threads,
        thread_pool_name=message.thread_pool_name.value or defaults.thread_pool_name,
        allowed_batch_sizes=allowed,
        pad_variable_length_inputs=message.pad_variable_length_inputs,
        enable_large_batch_splitting=splitting,
        max_execution_batch_size=executed,
    )
