"""The logs of a real server: access log and request log, the latter read back and used for warm-up (§10, §11)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exchanges import Ask, Stubs
from modelserver import ModelServer, running
from savedmodels import save_double
from slipway_server.errors import ServingError
from slipway_server.storage.source import LoggingRule

CONFIG = """
model_config_list {{
  config {{
    name: "m" base_path: "{root}/m" model_platform: "tensorflow"
    logging_config {{
      sampling_config {{ sampling_rate: 1.0 }}
      log_collector_config {{ type: "tfrecord" filename_prefix: "{root}/logs/m" }}
    }}
  }}
}}
"""
FLAGS = ("--drain_seconds=0", "--isolated_first_load=false", "--access_log=all")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("logged")
    save_double(root / "m" / "1", 1)
    return root


@pytest.fixture(scope="module")
def stopped(root: Path) -> Iterator[ModelServer]:
    """A server that has answered two requests and one error, and was stopped."""
    config = root / "models.config"
    config.write_text(CONFIG.format(root=root))
    with running(root, f"--model_config_file={config}", *FLAGS) as server:
        server.wait_ready()
        stubs = Stubs(server.target)
        ask = Ask({"x": ("float", [1.0, 2.5])}, model="m")
        metadata = (("x-request-id", "over-grpc"),)
        stubs.prediction.Predict(stubs.predict_request(ask, content=True), metadata=metadata)
        stubs.channel.close()
        answer = server.predict("m", {"instances": [5.0]})
        assert answer.headers["x-request-id"]
        server.predict("m", {"instances": ["no number"]})
        metrics = server.get("/monitoring/prometheus/metrics").text
        assert ":tensorflow:serving:runtime_latency_count" in metrics
        assert server.terminate() == 0
        yield server


def _records(root: Path) -> list[Any]:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    files = sorted(str(path) for path in (root / "logs").iterdir())
    data = tf.data.TFRecordDataset(files)
    return [prediction_log_pb2.PredictionLog.FromString(one.numpy()) for one in data]


def test_the_access_log(stopped: ModelServer) -> None:
    lines = [line for line in stopped.events("request") if line["method"] == "Predict"]
    told = [(line["protocol"], line["model"], line["version"], line["code"]) for line in lines]
    assert told == [
        ("GRPC", "m", 1, "OK"),
        ("REST", "m", 1, "OK"),
        ("REST", "m", 1, "INVALID_ARGUMENT"),
    ]
    assert lines[0]["request_id"] == "over-grpc"
    assert all(line["seconds"] > 0 and "127.0.0.1" in line["peer"] for line in lines)


def test_the_request_log_can_be_read(stopped: ModelServer, root: Path) -> None:
    import tensorflow as tf

    assert stopped.process.returncode == 0
    logs = _records(root)
    assert len(logs) == 2
    for log, sent, got in zip(logs, ([1.0, 2.5], [5.0]), ([3.0, 6.0], [11.0]), strict=True):
        metadata = log.log_metadata
        assert (metadata.model_spec.name, metadata.model_spec.version.value) == ("m", 1)
        assert (metadata.sampling_config.sampling_rate, metadata.timestamp_secs > 0) == (1.0, True)
        request, response = log.predict_log.request, log.predict_log.response
        assert request.model_spec.signature_name == "serving_default"
        assert tf.make_ndarray(request.inputs["x"]).tolist() == sent
        assert tf.make_ndarray(response.outputs["y"]).tolist() == got


def test_a_renamed_log_is_a_warm_up(stopped: ModelServer, root: Path) -> None:
    assert stopped.process.returncode == 0
    (file,) = (root / "logs").iterdir()
    warm = root / "warm" / "1"
    shutil.copytree(root / "m" / "1", warm)
    (warm / "assets.extra").mkdir()
    shutil.copy(file, warm / "assets.extra" / "tf_serving_warmup_requests")
    flags = ("--model_name=m", f"--model_base_path={root}/warm", *FLAGS)
    with running(root, *flags) as server:
        server.wait_ready()
        (line,) = server.events("warmed up")
        assert (line["model"], line["records"]) == ("m", 2)
        text = server.get("/monitoring/prometheus/metrics").text
        assert ":tensorflow:serving:model_warmup_latency_count" in text
        assert json.loads(server.get("/readyz").text)["ready"]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", None),
        ("logging_config { sampling_config { sampling_rate: 0 } }", None),
        (
            (
                "logging_config { sampling_config { sampling_rate: 0.25 } log_collector_config { type: 'file' "
                "filename_prefix: '/x' } }"
            ),
            LoggingRule("/x", 0.25),
        ),
        (
            "logging_config { sampling_config { sampling_rate: 1.5 } log_collector_config { type: 'file' } }",
            "INVALID_ARGUMENT: Model m has sampling_rate 1.5; it must be between 0 and 1",
        ),
        (
            "logging_config { sampling_config { sampling_rate: 1 } log_collector_config { type: 'x' } }",
            "NOT_FOUND: Cannot find LogCollector::Factory for type: x",
        ),
        (
            (
                "logging_config { sampling_config { sampling_rate: 1 } log_collector_config { type: 'tfrecord' "
                "filename_prefix: 'x' } }"
            ),
            "INVALID_ARGUMENT: Model m must have an absolute filename_prefix in its log_collector_config",
        ),
    ],
)
def test_logging_config(text: str, outcome: Any) -> None:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    from slipway_server.control.model_config import logging_rule

    config = text_format.Parse(f"name: 'm' {text}", model_server_config_pb2.ModelConfig())
    if isinstance(outcome, str):
        with pytest.raises(ServingError) as refused:
            logging_rule(config)
        assert str(refused.value) == outcome
    else:
        assert logging_rule(config) == outcome
