"""§9, §15: the parameters of batching, as text files written for TensorFlow Serving say them."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_server.batching.parameters import (
    BatchingParameters,
    parameters_from_text,
    parameters_without_file,
    read_parameters,
)
from slipway_server.errors import Code, ServingError
from slipway_server.loading.batching import BatchingRule


def test_nothing_said_is_the_defaults() -> None:
    defaults = parameters_from_text("")
    assert defaults == BatchingParameters()
    assert (defaults.max_batch_size, defaults.batch_timeout) == (1000, 0.0)
    assert (defaults.max_enqueued_batches, defaults.thread_pool_name) == (10, "batch_threads")
    assert parameters_without_file().thread_pool_name == "model_server_batch_threads"


def test_everything_said() -> None:
    assert parameters_from_text("""
        max_batch_size { value: 32 } batch_timeout_micros { value: 1500 } max_enqueued_batches { value: 7 }
        num_batch_threads { value: 3 } thread_pool_name { value: "p" } allowed_batch_sizes: 8 allowed_batch_sizes: 32
        pad_variable_length_inputs: true enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 16 }
    """) == BatchingParameters(32, 0.0015, 7, 3, "p", (8, 32), True, True, 16)


def test_the_execution_size_means_something_only_with_splitting() -> None:
    chosen = parameters_from_text(
        "max_batch_size { value: 8 } max_execution_batch_size { value: 4 }"
    )
    assert chosen.max_execution_batch_size == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "max_batch_size { value: 16 } allowed_batch_sizes: 4 allowed_batch_sizes: 8",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 16",
        ),
        (
            "allowed_batch_sizes: 8",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 1000",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 4 allowed_batch_sizes: 8",
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 0 allowed_batch_sizes: 8",
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("num_batch_threads { value: -1 }", "num_batch_threads must be positive; was -1"),
        ("batch_timeout_micros { value: -5 }", "batch_timeout_micros must be non-negative; was -5"),
        ("max_enqueued_batches { value: -1 }", "max_enqueued_batches must be non-negative; was -1"),
        (
            "max_batch_size { value: 4 } max_execution_batch_size { value: 8 } enable_large_batch_splitting {value:1}",
            "When enable_large_batch_splitting is true, max_batch_size must be greater than or equal to ",
        ),
        ("max_batch_size: 4", "Invalid batching parameters: "),
    ],
)
def test_what_contradicts_itself(text: str, message: str) -> None:
    with pytest.raises(ServingError) as error:
        parameters_from_text(text)
    assert error.value.code is Code.INVALID_ARGUMENT
    assert error.value.message.startswith(message)


def test_no_waiting_batch_at_all_means_one() -> None:
    assert parameters_from_text("max_enqueued_batches { value: 0 }").max_enqueued_batches == 1


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "batching.pbtxt"
    path.write_text("max_batch_size { value: 5 }")
    assert read_parameters(str(path)).max_batch_size == 5
    path.write_text("nonsense")
    with pytest.raises(ServingError, match="Invalid protobuf file: '"):
        read_parameters(str(path))


def test_per_model_only_versions_with_a_file_are_batched(tmp_path: Path) -> None:
    everywhere = BatchingParameters(max_batch_size=7)
    assert BatchingRule(everywhere).of(str(tmp_path)) is everywhere
    rule = BatchingRule(everywhere, per_model=True)
    assert rule.of(str(tmp_path)) is None
    (tmp_path / "batching_params.pbtxt").write_text("max_batch_size { value: 3 }")
    assert rule.of(str(tmp_path)) == BatchingParameters(
        max_batch_size=3, max_execution_batch_size=3
    )
    (tmp_path / "batching_params.pbtxt").write_text("max_batch_size { value: 0 }")
    with pytest.raises(ServingError, match="must be positive"):
        rule.of(str(tmp_path))
