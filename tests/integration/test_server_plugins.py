"""The example's plug-ins, installed as anybody's, and served: a table from an index, over gRPC and REST."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from modelserver import ModelServer, eventually, running
from plugin_packages import write_distribution
from slipway_server.wire.tensorflow_serving.apis import predict_pb2
from static_server import StaticServer

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".local/uv/bin/uv"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass
class Tables:
    """The web server with the index, and the model server that watches it."""

    web: StaticServer
    server: ModelServer

    def publish(self, **tables: dict[str, str]) -> None:
        """Make these the versions: v1=…, v2=…."""
        index = {}
        for name, table in tables.items():
            body = json.dumps(table).encode()
            self.web.files[f"{name}.json"] = body
            entry = {"table": f"{name}.json", "sha256": hashlib.sha256(body).hexdigest()}
            index[name.removeprefix("v")] = entry
        self.web.files["index.json"] = json.dumps({"versions": index}).encode()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example is installed."""
    folder = tmp_path_factory.mktemp("installed")
    command = ["pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation"]
    where = ["--python", sys.executable, "--target", str(folder)]
    subprocess.run([UV, *command, *where, ROOT / "examples/lookup_plugin"], check=True)
    return folder


@pytest.fixture(scope="module")
def tables(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    folder = tmp_path_factory.mktemp("plugins")
    with StaticServer() as web:
        flags = (
            "--model_name=capitals",
            "--model_platform=lookup_table",
            f"--model_base_path=table-index://{web.url.removeprefix('http://')}/index.json",
            "--aspired_version_policy=in_order",
            "--file_system_poll_wait_seconds=1",
        )
        temporary = folder / "tmp"
        temporary.mkdir()
        env = {"PYTHONPATH": str(installed), "TMPDIR": str(temporary)}
        with running(folder, *flags, env=env) as server:
            found = Tables(web, server)
            found.publish(v1={"France": "Paris"})
            server.wait_ready()
            yield found
            assert server.terminate() == 0
            assert list(temporary.glob("slipway-sources-*")) == []


def test_keys_are_looked_up_over_rest_and_grpc_and_a_new_version_takes_over(tables: Tables) -> None:
    server = tables.server
    keys = {"inputs": {"key": ["France", "Atlantis"]}}
    answer = server.predict("capitals", keys)
    assert answer.json() == {"outputs": {"value": ["Paris", ""], "found": [True, False]}}

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "capitals"
    key = request.inputs["key"]
    key.dtype, key.string_val[:] = 7, [b"France"]
    key.tensor_shape.dim.add(size=1)
    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_unary(
            PREDICT,
            request_serializer=predict_pb2.PredictRequest.SerializeToString,
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )
        response = call(request, timeout=60)
    assert list(response.outputs["value"].string_val) == [b"Paris"]
    assert response.model_spec.version.value == 1

    metadata = server.get("/v1/models/capitals/metadata").json()["metadata"]["signature_def"]
    shown = metadata["signature_def"]["serving_default"]["inputs"]["key"]
    assert shown["dtype"] == "DT_STRING"

    tables.publish(v1={"France": "Paris"}, v2={"Japan": "Tokyo"})
    eventually("version 2 answers alone", lambda: server.states("capitals").get(1) == "END")
    answer = server.predict("capitals", {"inputs": {"key": ["Japan"]}})
    assert answer.json()["outputs"]["value"] == ["Tokyo"]

    # What the index names is not what is there: the version that answers goes on.
    tables.publish(v2={"Japan": "Tokyo"}, v3={"Peru": "Lima"})
    tables.web.files["v3.json"] = b"{}"
    eventually(
        "version 3 is refused",
        lambda: any(
            "the index says" in line["warning"] for line in server.events("version discovery")
        ),
    )
    assert server.predict("capitals", {"inputs": {"key": ["Japan"]}}).status_code == 200
    bad = server.predict("capitals", {"inputs": {"key": [["Japan"]]}})
    assert bad.status_code == 400
    assert bad.json() == {"error": "key must be a list of keys; it has 2 dimensions"}


def test_a_plug_in_that_cannot_be_imported_ends_the_start_before_the_ports_open(
    tmp_path: Path,
) -> None:
    points = {"slipway.servables": {"broken": "broken_plugin:load"}}
    write_distribution(tmp_path, "broken-plugin", "1 / 0", points)
    flags = ("--model_platform=broken", "--model_base_path=/m")
    with running(tmp_path, *flags, env={"PYTHONPATH": str(tmp_path)}) as server:
        assert server.process.wait(90) == 255
        log = server.log_path.read_text()
    assert log == (
        "Failed to start server. Error: INVALID_ARGUMENT: Plug-in broken of slipway.servables, from distribution "
        "broken-plugin 1.0, cannot be imported: ZeroDivisionError: division by zero\n"
    )
