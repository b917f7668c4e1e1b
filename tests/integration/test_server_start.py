"""§1: what a server that is starting says, and what it refuses to start with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelserver import ModelServer, eventually, free_port, running
from savedmodels import save_double
from slipway_server.wire.inference import open_inference_pb2

CONFIG = """
model_config_list {{
  config {{ name: "slow" base_path: "{root}/slow" model_platform: "tensorflow" }}
  config {{ name: "quick" base_path: "{root}/quick" model_platform: "tensorflow" }}
}}
"""
STARTING = "the server is starting: slow version 3 is being loaded"
PREDICTION = "/tensorflow.serving.PredictionService/"
OPEN = "/inference.GRPCInferenceService/"


@dataclass
class Starting:
    """A server with a model that answers, and one whose graph is a pipe: reading it waits for who writes."""

    server: ModelServer
    channel: grpc.Channel
    pipe: Path
    socket: Path
    predecessor: socket.socket
    profiler: int

    def rest(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.server.http.request(method, path, json=body)
        return answer.status_code, answer.json()

    def grpc(self, path: str, request: Any) -> tuple[str, str]:
        try:
            self.channel.unary_unary(path)(request.SerializeToString(), timeout=30)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""


@pytest.fixture(scope="module")
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starting]:
    root = tmp_path_factory.mktemp("start")
    save_double(root / "quick" / "1", 1)
    pipe = root / "slow" / "3" / "saved_model.pb"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    config, path, profiler = root / "models.config", root / "s", free_port()
    config.write_text(CONFIG.format(root=root))
    flags = (
        f"--model_config_file={config}",
        f"--grpc_socket_path={path}",
        f"--profiler_port={profiler}",
        "--drain_seconds=0",
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as predecessor:
        predecessor.bind(str(path))
        predecessor.listen()
        with running(root, *flags) as server, grpc.insecure_channel(server.target) as channel:

            def decided() -> bool:
                return server.get("/readyz").json()["models"] == {"slow": False, "quick": True}

            eventually("one model answers", lambda: server.get("/livez").status_code == 200)
            eventually("one model answers", decided)
            eventually("the other is being loaded", lambda: server.states("slow")[3] == "LOADING")
            yield Starting(server, channel, pipe, path, predecessor, profiler)


@pytest.mark.parametrize("name", ["slow", "unknown"])
def test_every_request_is_unavailable_until_the_models_of_the_start_are_there(
    starting: Starting, name: str
) -> None:
    from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2

    for path, body in (
        (f"/v1/models/{name}:predict", {"instances": [1.0]}),
        (f"/v1/models/{name}/versions/3:predict", {"instances": [1.0]}),
        (f"/v1/models/{name}/labels/stable:predict", {"instances": [1.0]}),
        (f"/v1/models/{name}:classify", {"examples": [{"x": 1.0}]}),
        (f"/v1/models/{name}:regress", {"examples": [{"x": 1.0}]}),
        (f"/v2/models/{name}/infer", {"inputs": []}),
        (f"/v2/models/{name}/versions/3/infer", {"inputs": []}),
    ):
        assert starting.rest("POST", path, body) == (503, {"error": STARTING}), path
    for path in (f"/v1/models/{name}/metadata", f"/v2/models/{name}"):
        assert starting.rest("GET", path) == (503, {"error": STARTING}), path

    predict = predict_pb2.PredictRequest()
    examples = classification_pb2.ClassificationRequest()
    several = inference_pb2.MultiInferenceRequest()
    predict.model_spec.name = examples.model_spec.name = name
    several.tasks.add().model_spec.name = name
    infer = open_inference_pb2.ModelInferRequest(model_name=name)
    for path, request in (
        (PREDICTION + "Predict", predict),
        (PREDICTION + "Classify", examples),
        (PREDICTION + "Regress", examples),
        (PREDICTION + "MultiInference", several),
        (OPEN + "ModelInfer", infer),
        (OPEN + "ModelMetadata", open_inference_pb2.ModelMetadataRequest(name=name)),
    ):
        assert starting.grpc(path, request) == ("UNAVAILABLE", STARTING), path


def test_what_is_there_answers_meanwhile(starting: Starting) -> None:
    assert starting.rest("POST", "/v1/models/quick:predict", {"instances": [1.0]}) == (
        200,
        {"predictions": [3.0]},
    )
    assert starting.rest("GET", "/v2/models/slow/ready") == (503, {"name": "slow", "ready": False})
    assert starting.rest("GET", "/v1/models/unknown")[0] == 404


def test_a_socket_on_which_another_process_listens_is_taken_over(starting: Starting) -> None:
    with grpc.insecure_channel(f"unix:{starting.socket}") as channel:
        request = health_pb2.HealthCheckRequest(service="quick")
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    [warning] = starting.server.events(
        "UNIX socket taken over: another process listens on it and gets no new connections"
    )
    assert (warning["level"], warning["path"]) == ("warning", str(starting.socket))


def test_tensorboard_captures_a_profile(starting: Starting, tmp_path: Path) -> None:
    import tensorflow as tf

    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            starting.rest("POST", "/v1/models/quick:predict", {"instances": [1.0]})

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        target = f"grpc://localhost:{starting.profiler}"
        tf.profiler.experimental.client.trace(target, str(tmp_path), 500)
    finally:
        stop.set()
        asking.join()
    [profile] = tmp_path.glob("plugins/profile/*/*.xplane.pb")
    # What ran meanwhile is in it: the operation that the model's output is.
    assert b"StatefulPartitionedCall" in profile.read_bytes()
    assert any("profiler open" in line["event"] for line in starting.server.log)


def test_once_the_start_is_over_an_absent_model_is_not_found(starting: Starting) -> None:
    """Last of these, because it ends the start: the pipe is no SavedModel."""
    starting.pipe.write_bytes(b"")
    eventually("the load has failed", lambda: starting.server.states("slow")[3] == "END")
    for name in ("slow", "unknown"):
        assert starting.rest("POST", f"/v1/models/{name}:predict", {"instances": [1.0]}) == (
            404,
            {"error": f"Servable not found for request: Latest({name})"},
        )
    assert starting.server.terminate() == 0
    assert not starting.socket.exists()


def test_the_profiler_shares_its_port_with_nobody(tmp_path: Path) -> None:
    port = free_port()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "slipway_server", f"--port={free_port()}"),
            *(
                f"--model_base_path={tmp_path}",
                f"--rest_api_port={port}",
                f"--profiler_port={port}",
            ),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 255
    assert done.stdout == (
        f"Failed to start server. Error: UNKNOWN: Cannot listen on port {port} for the profiler: "
        "Address already in use\n"
    )


@pytest.mark.parametrize("early", [True, False], ids=["ports at once", "ports when ready"])
def test_a_config_that_cannot_be_parsed_is_said_before_anything_else(
    tmp_path: Path,
    early: bool,  # noqa: FBT001 - a case
) -> None:
    config, log = tmp_path / "models.config", tmp_path / "termination"
    config.write_text("model_config_list {\n  improper: 1\n}\n")
    command = [
        *(sys.executable, "-m", "slipway_server", f"--port={free_port()}"),
        f"--model_config_file={config}",
        f"--open_ports_at_once={str(early).lower()}",
        f"--termination_log={log}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 255
    first, *_ = done.stderr.splitlines()
    assert first.startswith("Error parsing text-format tensorflow.serving.ModelServerConfig: 2:3: ")
    assert "improper" in first
    refusal = f"INVALID_ARGUMENT: Invalid protobuf file: '{config}'"
    assert done.stdout == f"Failed to start server. Error: {refusal}\n"
    assert refusal in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port=99999"], "--port must be between 0 and 65535"),
        (
            ["--model_base_path={folder}/m/1"],
            "--model_base_path={folder}/m/1 is itself a version; give its parent: --model_base_path={folder}/m",
        ),
        (["--model_config_file={folder}/none"], "{folder}/none; No such file or directory"),
        (
            ["--enable_batching", "--batching_parameters=max_batch_size: 32"],
            "write max_batch_size {{ value: 32 }} instead of max_batch_size: 32",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence_before_tensorflow_is_imported(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "saved_model.pb").touch()
    command = [
        *(sys.executable, "-X", "importtime", "-m", "slipway_server"),
        *(f"--model_base_path={tmp_path}/m", f"--port={free_port()}"),
        *(argument.format(folder=tmp_path) for argument in arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 255
    assert done.stdout.startswith("Failed to start server. Error: ")
    assert done.stdout.endswith(sentence.format(folder=tmp_path) + "\n")
    assert done.stdout.count("\n") == 1
    imported = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert "slipway_server.app.process" in imported
    assert not [name for name in imported if name.partition(".")[0] == "tensorflow"]
    assert "Traceback" not in done.stderr


def test_the_containers_variables_name_the_model(tmp_path: Path) -> None:
    """With a base path that holds nothing: what the server waits for says what it was told."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "slipway_server"),
        *(f"--port={free_port()}", f"--rest_api_port={port}"),
    ]
    environment = {**os.environ, "MODEL_NAME": "mnist", "MODEL_BASE_PATH": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            first = json.loads(process.stderr.readline())
            assert first["message"] == (
                f"--model_base_path={tmp_path}/mnist does not exist; the server waits for it"
            )
        finally:
            process.kill()
