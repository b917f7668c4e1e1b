"""The real process: start, discovery while serving, bad models, exits (§1, §3, §16)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelserver import eventually, free_port, running
from savedmodels import save_double

Export = Callable[[Path, int], Path]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exports")
    for version in (1, 2):
        save_double(root / str(version), version)
    return root


@pytest.fixture
def publish(exported: Path) -> Export:
    """Put a version into a base path the way slipway-sync does: with one rename."""

    def put(base: Path, version: int) -> Path:
        base.mkdir(parents=True, exist_ok=True)
        hidden = base / f".incoming-{version}"
        shutil.copytree(exported / str(version), hidden)
        return hidden.rename(base / str(version))

    return put


def _drainless(model: str, base: Path, *more: str) -> tuple[str, ...]:
    return (f"--model_name={model}", f"--model_base_path={base}", "--drain_seconds=0", *more)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slipway_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


# ---- start -----------------------------------------------------------------------------------------------------------


HOLD_TENSORFLOW = """
import pathlib, sys, time

class Held:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith("tensorflow."):
            while not pathlib.Path({go!r}).exists():
                time.sleep(0.01)

sys.meta_path.insert(0, Held)
"""
"""Python runs it first, and whoever imports a part of TensorFlow waits for a file."""


def test_livez_answers_before_tensorflow_is_there(tmp_path: Path, publish: Export) -> None:
    publish(tmp_path / "m", 1)
    go = tmp_path / "go"
    (tmp_path / "sitecustomize.py").write_text(HOLD_TENSORFLOW.format(go=str(go)))
    env = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    }
    with running(tmp_path, *_drainless("m", tmp_path / "m"), env=env) as server:
        eventually("it is alive", lambda: server.get("/livez").status_code == 200)
        answer = server.get("/readyz")
        assert (answer.status_code, answer.json()["reasons"]) == (503, ["The server is starting"])
        assert server.predict("m", {"instances": [1.0]}).status_code == 503
        go.touch()
        server.wait_ready()
        assert server.predict("m", {"instances": [1.0]}).json() == {"predictions": [3.0]}
        assert server.get("/readyz").json() == {"ready": True, "models": {"m": True}, "reasons": []}
        # Signature `checked` refuses the zeros of the trial run.
        [tried] = [line for line in server.log if line["level"] != "info"]
        assert (tried["event"], tried["signature"]) == ("trial run failed", "checked")


def test_before_its_models_are_there_grpc_says_so(tmp_path: Path) -> None:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with (
        running(tmp_path, *_drainless("m", tmp_path / "m")) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="")
        answer = health.Check(request, wait_for_ready=True, timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as error:
            call(b"", timeout=30)
        assert error.value.code().name in {"UNAVAILABLE", "INVALID_ARGUMENT"}


def test_version_prints_two_lines() -> None:
    done = _run("--version")
    assert done.returncode == 0
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "TensorFlow ModelServer",
        "TensorFlow Library",
    ]


def test_a_malformed_value_prints_usage_and_ends_with_255() -> None:
    done = _run("--port=x")
    assert done.returncode == 255
    assert "Couldn't interpret value x for flag port." in done.stdout
    assert "--model_base_path" in done.stdout


def test_an_unknown_argument_prints_usage_and_the_server_goes_on() -> None:
    done = _run("--nope=1", "extra")
    assert "unknown argument: --nope=1\nunknown argument: extra\nusage: " in done.stdout
    assert (
        "Both server_options.model_base_path and server_options.model_config_file are empty!"
        in done.stdout
    )
    assert done.returncode == 255


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("nonsense {", "Invalid protobuf file: '"),
        ('model_config_list { config { name: "a" base_path: "/a" } }', "Illegal setting neither "),
        (
            'model_config_list { config { name: "a" base_path: "a" model_platform: "tensorflow" } }',
            "Expected model a to have an absolute path or URI; got base_path()=a",
        ),
    ],
)
def test_a_config_that_cannot_be_used_ends_the_start(
    tmp_path: Path, config: str, message: str
) -> None:
    path = tmp_path / "models.config"
    path.write_text(config)
    done = _run(f"--port={free_port()}", f"--model_config_file={path}")
    assert done.returncode == 255
    assert "Failed to start server. Error: INVALID_ARGUMENT: " in done.stdout
    assert message in done.stdout


def test_a_port_in_use_ends_the_start(tmp_path: Path) -> None:
    with running(tmp_path, *_drainless("m", tmp_path)) as server:
        eventually("it is alive", lambda: server.get("/livez").status_code == 200)
        done = _run(
            f"--port={free_port()}", f"--rest_api_port={server.rest_port}", "--model_base_path=/m"
        )
        assert done.returncode == 255
        assert f"Cannot listen on port {server.rest_port}" in done.stdout


def test_without_home_on_a_read_only_directory(tmp_path: Path, publish: Export) -> None:
    publish(tmp_path / "m", 1)
    with running(
        tmp_path, *_drainless("m", tmp_path / "m"), env={"HOME": "/nonexistent", "TMPDIR": "/proc"}
    ) as server:
        server.wait_ready()
        assert server.predict("m", {"instances": [1.0]}).status_code == 200


def test_flags_without_effect_are_said_once(tmp_path: Path) -> None:
    with running(
        tmp_path, *_drainless("m", tmp_path), "--use_alts_credentials", "--skip_initialize_tpu"
    ) as server:
        eventually("it says so", lambda: len(server.events("flag without effect")) == 2)


# ---- discovery -------------------------------------------------------------------------------------------------------


def test_new_versions_are_served_without_a_failed_request(tmp_path: Path, publish: Export) -> None:
    base = tmp_path / "m"
    publish(base, 1)
    with running(tmp_path, *_drainless("m", base)) as server:
        server.wait_ready()
        answers: list[tuple[int, Any]] = []
        stopped = threading.Event()

        def call() -> None:
            with httpx.Client(base_url=server.url) as client:
                while not stopped.is_set():
                    answer = client.post("/v1/models/m:predict", json={"instances": [1.0]})
                    answers.append((answer.status_code, answer.json()))

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        publish(base, 2)
        eventually(
            "version 2 answers and 1 has gone",
            lambda: server.states("m") == {1: "END", 2: "AVAILABLE"},
        )
        # Requests already on their way may still name the old version; what follows may not.
        assert server.predict("m", {"instances": [1.0]}).json() == {"predictions": [4.0]}
        stopped.set()
        for caller in callers:
            caller.join(30)
        assert {status for status, _ in answers} == {200}
        values = [body["predictions"][0] for _, body in answers]
        assert sorted(set(values)) == [3.0, 4.0]
        assert server.predict("m", {"instances": [1.0]}, "/versions/1").status_code == 404


def test_an_emptied_base_path_unloads_nothing(tmp_path: Path, publish: Export) -> None:
    base = tmp_path / "m"
    publish(base, 1)
    with running(tmp_path, *_drainless("m", base)) as server:
        server.wait_ready()
        (base / "1").rename(tmp_path / "gone")
        eventually("it was seen", lambda: server.events("version discovery"))
        shutil.rmtree(base)
        eventually("that, too", lambda: len(server.events("version discovery")) == 2)
        assert server.states("m") == {1: "AVAILABLE"}
        assert server.predict("m", {"instances": [1.0]}).status_code == 200
        assert server.get("/readyz").status_code == 200


def test_an_emptied_base_path_unloads_when_asked_to(tmp_path: Path, publish: Export) -> None:
    base = tmp_path / "m"
    publish(base, 1)
    with running(
        tmp_path, *_drainless("m", base, "--servable_versions_always_present=false")
    ) as server:
        server.wait_ready()
        (base / "1").rename(tmp_path / "gone")
        eventually("it is unloaded", lambda: server.states("m") == {1: "END"})
        eventually("it is not ready", lambda: server.get("/readyz").status_code == 503)


def test_an_export_that_arrives_piece_by_piece_serves_once_it_is_whole(
    tmp_path: Path, exported: Path
) -> None:
    base = tmp_path / "m"
    (base / "1").mkdir(parents=True)
    shutil.copy(exported / "1" / "saved_model.pb", base / "1")
    with running(tmp_path, *_drainless("m", base)) as server:
        eventually("it cannot be loaded yet", lambda: server.events("load failed"))
        shutil.copytree(exported / "1", base / "1", dirs_exist_ok=True)
        server.wait_ready()
        assert server.states("m") == {1: "AVAILABLE"}


def test_a_bad_version_leaves_the_good_one_serving(tmp_path: Path, publish: Export) -> None:
    base = tmp_path / "m"
    publish(base, 1)
    with running(tmp_path, *_drainless("m", base)) as server:
        server.wait_ready()
        (base / "3").mkdir()
        (base / "3" / "saved_model.pb").write_bytes(b"\xff" * 100)
        eventually("it failed", lambda: server.states("m").get(3) == "END")
        assert server.predict("m", {"instances": [1.0]}).json() == {"predictions": [3.0]}
        [entry, _] = server.get("/v1/models/m").json()["model_version_status"]
        assert entry["status"]["error_code"] == "DATA_LOSS"
        publish(base, 4 - 2)  # 2 is lower than 3, so latest:1 still wants the bad one
        shutil.rmtree(base / "3")
        eventually("version 2 serves", lambda: server.states("m").get(2) == "AVAILABLE")


def test_one_bad_model_never_blocks_another(tmp_path: Path, publish: Export) -> None:
    publish(tmp_path / "good", 1)
    (tmp_path / "bad" / "1").mkdir(parents=True)
    config = tmp_path / "models.config"
    config.write_text(
        "model_config_list {\n"
        + "".join(
            f'config {{ name: "{name}" base_path: "{tmp_path}/{name}" model_platform: "tensorflow" }}\n'
            for name in ("absent", "bad", "good")
        )
        + "}"
    )
    with running(tmp_path, f"--model_config_file={config}", "--drain_seconds=0") as server:
        eventually(
            "the good one serves",
            lambda: server.predict("good", {"instances": [1.0]}).status_code == 200,
        )
        publish(tmp_path / "absent", 2)
        eventually(
            "the absent one, too",
            lambda: server.predict("absent", {"instances": [1.0]}).status_code == 200,
        )
        eventually(
            "the bad one is named", lambda: len(server.get("/readyz").json()["reasons"]) == 1
        )
        assert (
            "Model bad: version 1 is END (NOT_FOUND: " in server.get("/readyz").json()["reasons"][0]
        )


def test_resource_preserving_unloads_first(tmp_path: Path, publish: Export) -> None:
    base = tmp_path / "m"
    publish(base, 1)
    with running(
        tmp_path, *_drainless("m", base, "--aspired_version_policy=resource_preserving")
    ) as server:
        server.wait_ready()
        publish(base, 2)
        eventually("version 2 serves", lambda: server.states("m") == {1: "END", 2: "AVAILABLE"})
        steps = [
            (line["event"], line["version"])
            for line in server.log
            if line["event"] in {"unloaded", "loading"}
        ]
        assert steps == [("loading", 1), ("unloaded", 1), ("loading", 2)]


# ---- exits -----------------------------------------------------------------------------------------------------------


def _break_graph(version: Path) -> None:
    (version / "saved_model.pb").write_bytes(b"\xff" * 100)


def _break_index(version: Path) -> None:
    (version / "variables" / "variables.index").unlink()


def _break_shard(version: Path) -> None:
    shard = version / "variables" / "variables.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-3])


def _break_tags(version: Path) -> None:
    data = (version / "saved_model.pb").read_bytes()
    (version / "saved_model.pb").write_bytes(data.replace(b"\x05serve", b"\x05train", 1))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_break_graph, "saved_model.pb"),
        (_break_index, "variables/variables.index is missing"),
        (_break_shard, "Cannot restore the variables of "),
        (_break_tags, "Could not find meta graph def matching supplied tags: { serve }"),
        (
            lambda version: (version / "saved_model.pb").unlink(),
            "does not appear to contain a SavedModel bundle",
        ),
        (shutil.rmtree, "No versions of servable m found"),
        (lambda version: shutil.rmtree(version.parent), "Could not find base path"),
    ],
)
def test_exit_on_failed_load(
    tmp_path: Path, publish: Export, damage: Callable[[Path], object], words: str
) -> None:
    base = tmp_path / "m"
    damage(publish(base, 1))
    log = tmp_path / "termination.log"
    flags = (
        "--exit_on_failed_load=true",
        f"--termination_log={log}",
        "--file_system_poll_wait_seconds=0",
    )
    with running(tmp_path, *_drainless("m", base, *flags)) as server:
        assert server.process.wait(90) == 65, server.log_path.read_text()
    said = json.loads(log.read_text())
    assert said["reason"] == "LoadFailed"
    assert words in said["message"]
    assert "\n" not in said["message"]


def test_sigterm_ends_with_0_also_while_starting(tmp_path: Path) -> None:
    with running(tmp_path, *_drainless("m", tmp_path)) as server:
        eventually("it is alive", lambda: server.get("/livez").status_code == 200)
        assert server.terminate() == 0


def test_a_request_in_flight_at_the_end_of_the_drain_is_answered(
    tmp_path: Path, publish: Export
) -> None:
    publish(tmp_path / "m", 1)
    with running(tmp_path, *_drainless("m", tmp_path / "m")) as server:
        server.wait_ready()
        body = b'{"instances": [1.0]}'
        head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        import socket

        with socket.create_connection(("127.0.0.1", server.rest_port)) as client:
            client.sendall(head + body[:5])
            time.sleep(0.2)  # the server must have read the first half; nothing tells when it has
            os.kill(server.process.pid, signal.SIGTERM)
            eventually("it is stopping", lambda: server.events("stopping"))
            client.sendall(body[5:])
            answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"Connection: close" in answer
        assert server.process.wait(30) == 0
