"""How the server starts, or does not; the config file that it looks at again and again. §1, §1.1, §2, §4.4, §6, §11."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import savedmodels
from exchanges import Stubs
from modelserver import ModelServer, eventually, running

COMMON = ("--drain_seconds=0", "--isolated_first_load=false")


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "1"
    savedmodels.save_double(path, 1)
    return path


@pytest.fixture
def publish(tmp_path: Path, export: Path) -> Callable[[str, int], None]:
    def put(model: str, version: int) -> None:
        (tmp_path / model).mkdir(exist_ok=True)
        hidden = tmp_path / model / ".incoming"
        shutil.copytree(export, hidden)
        hidden.rename(tmp_path / model / str(version))

    return put


def _config(root: Path, *bodies: str) -> str:
    configs = "".join(
        f'config {{ name: "{body.split()[0]}" base_path: "{root}/{body.split()[0]}" '
        f'model_platform: "tensorflow" {body.partition(" ")[2]} }}\n'
        for body in bodies
    )
    return f"model_config_list {{\n{configs}}}\n"


def _label(version: int) -> str:
    return f'version_labels {{ key: "stable" value: {version} }}'


def _said(server: ModelServer) -> str:
    server.process.wait(90)
    return server.log_path.read_text()


def _refused(server: ModelServer, words: str) -> bool:
    return any(words in line["error"] for line in server.events("config file not applied"))


# ---- §1, §6: starts that fail ----------------------------------------------------------------------------------------


def test_the_strict_rule_for_labels_at_the_start(
    tmp_path: Path, publish: Callable[[str, int], None]
) -> None:
    publish("m", 1)
    config = tmp_path / "models.config"
    config.write_text(_config(tmp_path, f"m {_label(1)}"))
    with running(
        tmp_path, f"--model_config_file={config}", "--strict_version_labels", *COMMON
    ) as server:
        said = _said(server)
    assert server.process.returncode == 255
    assert (
        "Failed to start server. Error: FAILED_PRECONDITION: Request to assign label to version 1 of model m, which is "
        "not currently available for inference\n"
    ) in said


def test_ports_that_wait_for_models_do_not_open_when_one_fails(
    tmp_path: Path, publish: Callable[[str, int], None]
) -> None:
    publish("m", 3)
    (tmp_path / "m" / "3" / "saved_model.pb").write_bytes(b"\xff")
    flags = (f"--model_base_path={tmp_path}/m", "--model_name=m", "--open_ports_at_once=false")
    with running(tmp_path, *flags, *COMMON) as server:
        said = _said(server)
    assert server.process.returncode == 255
    assert (
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{name: m version: 3} due to error: DATA_LOSS: "
    ) in said
    assert '"event":"ports open"' not in said


def test_a_model_without_versions_ends_the_start_when_asked_to(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    flags = (
        f"--model_base_path={tmp_path}/m",
        "--model_name=m",
        "--fail_if_no_model_versions_found",
    )
    with running(tmp_path, *flags, *COMMON) as server:
        said = _said(server)
    assert server.process.returncode == 255
    assert (
        f"Failed to start server. Error: NOT_FOUND: No versions of servable m found under base path {tmp_path}/m. "
    ) in said


def test_a_model_outside_of_the_named_folders_ends_the_start(
    tmp_path: Path, publish: Callable[[str, int], None]
) -> None:
    publish("m", 1)
    flags = ("--model_name=m", f"--model_base_path={tmp_path}/m", f"--model_roots={tmp_path}/n")
    with running(tmp_path, *flags, *COMMON) as server:
        said = _said(server)
    assert server.process.returncode == 255
    assert (
        f"Failed to start server. Error: PERMISSION_DENIED: Model m has base_path {tmp_path}/m, which is not in a "
        "folder that this server may use for models; name the folder in --model_roots\n"
    ) in said


# ---- §2: a reload of a server without a file -------------------------------------------------------------------------


def test_what_the_command_line_names_survives_every_reload(
    tmp_path: Path, publish: Callable[[str, int], None]
) -> None:
    from google.protobuf import text_format
    from tensorflow_serving.apis import model_management_pb2

    publish("m", 1)
    publish("n", 1)
    kept = f'name: "m" base_path: "{tmp_path}/m" model_platform: "tensorflow"'
    added = f'name: "n" base_path: "{tmp_path}/n" model_platform: "tensorflow"'
    log = (
        "logging_config { sampling_config { sampling_rate: 1 } log_collector_config "
        '{ type: "tfrecord" filename_prefix: "PREFIX" } }'
    )
    flags = ("--model_name=m", f"--model_base_path={tmp_path}/m", *COMMON)
    with running(tmp_path, *flags) as server:
        server.wait_ready()
        stubs = Stubs(server.target)

        def outcome(*configs: str) -> str:
            listed = " ".join(f"config {{ {config} }}" for config in configs)
            request = model_management_pb2.ReloadConfigRequest()
            text_format.Parse(f"model_config_list {{ {listed} }}", request.config)
            call = stubs.model.HandleReloadConfigRequest
            try:
                return str(call(request, timeout=60).status.error_code)
            except stubs.grpc.RpcError as error:
                return f"{error.code().name}: {error.details()}"

        for configs in (
            (),
            (added,),
            (kept.replace(f"{tmp_path}/m", f"{tmp_path}/n"),),
            (f"{kept} model_version_policy {{ specific {{ }} }}",),
        ):
            assert outcome(*configs).startswith(
                "PERMISSION_DENIED: Model m is named on the command "
            )
        for prefix in (f"{tmp_path.parent}/logs/x", f"{tmp_path}/m/2/x"):
            refused = outcome(f"{kept} {log.replace('PREFIX', prefix)}")
            assert refused.startswith(f"PERMISSION_DENIED: Model m has filename_prefix {prefix}, ")
            assert not Path(prefix).parent.exists()
        assert server.get("/readyz").json() == {"ready": True, "models": {"m": True}, "reasons": []}
        assert outcome(kept, added) == "0"
        assert server.predict("n", {"instances": [1.0]}).json() == {"predictions": [3.0]}
        assert server.predict("m", {"instances": [1.0]}).json() == {"predictions": [3.0]}
        stubs.channel.close()


# ---- §2: the file at run time ----------------------------------------------------------------------------------------


def test_the_config_file_is_followed(tmp_path: Path, publish: Callable[[str, int], None]) -> None:
    """With every strict rule on that leaves something to follow; ports that wait; metrics elsewhere (§11)."""
    for version in (1, 2):
        publish("m", version)
    publish("n", 1)
    config, monitoring = tmp_path / "models.config", tmp_path / "monitoring.config"
    config.write_text(_config(tmp_path, f"m {_label(2)}"))
    monitoring.write_text('prometheus_config { enable: true path: "/numbers" }')
    flags = (
        f"--model_config_file={config}",
        "--model_config_file_poll_wait_seconds=1",
        "--strict_version_labels",
        "--allow_version_labels_for_unavailable_models",
        "--open_ports_at_once=false",
        f"--monitoring_config_file={monitoring}",
    )
    with running(tmp_path, *flags, *COMMON) as server:
        eventually("the port is open", lambda: server.get("/livez").status_code == 200)
        # From the first moment at which anybody can ask.
        answer = server.predict("m", {"instances": [1.0]}, "/labels/stable")
        assert answer.json() == {"predictions": [3.0]}
        assert server.get("/monitoring/prometheus/metrics").status_code == 404
        assert "slipway_requests" in server.get("/numbers").text

        config.write_text(_config(tmp_path, f"m {_label(2)}", "n"))
        eventually("n serves", lambda: server.states("n") == {1: "AVAILABLE"})

        refusals = [
            (_config(tmp_path, f"m {_label(1)}"), "FAILED_PRECONDITION: Request to assign label"),
            (_config(tmp_path, "m", "m"), "Illegal to list model m multiple times in config list"),
            ("model_config_list {", f"INVALID_ARGUMENT: Invalid protobuf file: '{config}'"),
            ('custom_model_config { type_url: "x" }', "FAILED_PRECONDITION: Cannot transition to "),
            ("", "Taking no action for empty config."),
        ]
        for text, words in refusals:
            config.write_text(text)
            eventually(f"it is refused: {words}", partial(_refused, server, words))
            assert server.states("n") == {1: "AVAILABLE"}
            assert server.predict("m", {"instances": [1.0]}, "/labels/stable").status_code == 200

        config.write_text("model_config_list {}")
        eventually("all is unloaded", lambda: server.states("m") == {2: "END"})
        assert server.get("/readyz").json() == {
            "ready": False,
            "models": {},
            "reasons": ["No model is configured any more: the list of models is empty"],
        }
        assert server.terminate() == 0


# ---- §4.4: memory ----------------------------------------------------------------------------------------------------


def test_what_does_not_fit_ends_as_resource_exhausted(
    tmp_path: Path, export: Path, publish: Callable[[str, int], None]
) -> None:
    publish("m", 1)
    size = sum(path.stat().st_size for path in export.rglob("*") if path.is_file())
    flags = (
        f"--model_base_path={tmp_path}/m",
        "--model_name=m",
        f"--total_model_memory_limit_bytes={int(size * 1.2 * 1.5)}",
        "--max_num_load_retries=0",
    )
    with running(tmp_path, *flags, *COMMON) as server:
        server.wait_ready()
        publish("m", 2)
        eventually("2 is refused", lambda: server.states("m").get(2) == "END")
        [two, one] = server.get("/v1/models/m").json()["model_version_status"]
        assert one["state"] == "AVAILABLE"
        assert two["status"] == {
            "error_code": "RESOURCE_EXHAUSTED",
            "error_message": "Insufficient resources to load servable {name: m version: 2}",
        }
