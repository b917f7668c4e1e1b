"""`--exit_after_load`: a version is loaded, warmed up and checked, and the process ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import faulty_exports
import savedmodels
import warmups


def _good(version: Path) -> None:
    warmups.save_counting(version)
    _write_check(version, 2.0)


def _write_check(version: Path, expected: float) -> None:
    """Write a check of 2 × 1."""
    import tensorflow as tf
    from google.protobuf import json_format
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog.FromString(warmups.predict())
    tensor = tf.make_tensor_proto([[expected]], "float32")
    check = {
        "name": "sum",
        "request": json_format.MessageToDict(log, preserving_proto_field_name=True),
        "outputs": {
            "y": {"value": json_format.MessageToDict(tensor, preserving_proto_field_name=True)}
        },
    }
    path = version / "assets.extra" / "slipway_checks"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(check) + "\n")


def _failing_check(version: Path) -> None:
    warmups.save_counting(version)
    _write_check(version, 3.0)


def _broken_variable(version: Path) -> None:
    savedmodels.save_double(version, 1)
    shard = version / "variables" / "variables.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-3])


def _python_call(version: Path) -> None:
    faulty_exports.save_function(version, faulty_exports.python_calls()["PyFunc"])


CASES: list[tuple[Callable[[Path], None], int, str, str]] = [
    (_good, 0, "Loaded", "Model m was loaded, warmed up and checked"),
    (_failing_check, 65, "LoadFailed", 'output "y" is 2.0 instead of 3.0'),
    (_broken_variable, 65, "LoadFailed", "Cannot restore the variables of "),
    (_python_call, 65, "LoadFailed", "PyFunc"),
]


@pytest.mark.parametrize(
    ("save", "code", "reason", "words"), [pytest.param(*c, id=c[0].__name__[1:]) for c in CASES]
)
def test_the_exit_code_and_the_termination_log_say_how_it_went(
    tmp_path: Path, save: Callable[[Path], None], code: int, reason: str, words: str
) -> None:
    save(tmp_path / "m" / "1")
    log = tmp_path / "termination.log"
    command = [
        sys.executable, "-m", "slipway_server", "--port=1", "--rest_api_port=2", "--model_name=m",
        f"--model_base_path={tmp_path / 'm'}", "--file_system_poll_wait_seconds=0",
        "--exit_after_load=true", f"--termination_log={log}",
    ]  # fmt: skip
    env = {k: v for k, v in os.environ.items() if not k.startswith("KUBERNETES_")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=env
    )
    assert done.returncode == code, done.stdout + done.stderr
    said = json.loads(log.read_text())
    assert said["reason"] == reason
    assert words in said["message"]
    assert "\n" not in said["message"]
    # No port was opened: those two are reserved for root, or anybody's.
    assert "ports open" not in done.stdout + done.stderr
