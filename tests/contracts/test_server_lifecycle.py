"""One server whose models change at run time: reload by method and by file, labels, status. §2, §3, §5, §6.

The tests use models of their own on one shared server: each gives the whole list anew, as the method demands.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import savedmodels
from exchanges import Ask, Stubs
from modelserver import ModelServer, eventually, running


@dataclass
class Site:
    """The server and what it serves from."""

    server: ModelServer
    stubs: Stubs
    root: Path
    names: list[str] = field(default_factory=list)

    def publish(self, model: str, *versions: int) -> Path:
        base = self.root / model
        base.mkdir(exist_ok=True)
        for version in versions:
            hidden = base / f".incoming-{version}"
            shutil.copytree(self.root / "exports" / str(version), hidden)
            hidden.rename(base / str(version))
        return base

    def request(self, text: str, *metrics: str) -> Any:
        from google.protobuf import text_format
        from tensorflow_serving.apis import model_management_pb2 as pb

        request = pb.ReloadConfigRequest(metric_names=metrics)
        text_format.Parse(text.replace("ROOT", str(self.root)), request.config)
        return request

    def reload(self, text: str, *metrics: str) -> Any:
        return self.stubs.model.HandleReloadConfigRequest(self.request(text, *metrics), timeout=60)

    def refused(self, text: str) -> tuple[str, str]:
        return self.stubs.refused(self.stubs.model.HandleReloadConfigRequest, self.request(text))

    def answer(self, model: str, *, label: str | None = None, version: int | None = None) -> float:
        ask = Ask({"x": ("float", [1.0])}, model=model, label=label, version=version)
        reply = self.stubs.prediction.Predict(self.stubs.predict_request(ask, content=False))
        return float(next(iter(reply.outputs.values())).float_val[0])

    def answer_refused(self, model: str, label: str) -> tuple[str, str]:
        ask = Ask({"x": ("float", [1.0])}, model=model, label=label)
        request = self.stubs.predict_request(ask, content=False)
        return self.stubs.refused(self.stubs.prediction.Predict, request)


def models(*bodies: str) -> str:
    configs = "".join(
        f'config {{ base_path: "ROOT/{body.split()[0]}" model_platform: "tensorflow" '
        f'name: "{body.split()[0]}" {body.partition(" ")[2]} }}\n'
        for body in bodies
    )
    return f"model_config_list {{ {configs} }}"


ALL = "model_version_policy { all {} }"


def label(name: str, version: int) -> str:
    return f'version_labels {{ key: "{name}" value: {version} }}'


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lifecycle")
    for version in (1, 2, 3):
        savedmodels.save_double(root / "exports" / str(version), version)
    return root


@pytest.fixture(scope="module")
def site(exports: Path) -> Iterator[Site]:
    config = exports / "models.config"
    config.write_text("")
    with running(
        exports,
        f"--model_config_file={config}",
        "--file_system_poll_wait_seconds=0",
        "--drain_seconds=0",
        "--isolated_first_load=false",
        "--servable_state_waiter_timeout_seconds=20",
    ) as server:
        server.wait_ready()
        stubs = Stubs(server.target)
        yield Site(server, stubs, exports)
        stubs.channel.close()


def test_labels_before_any_config(site: Site) -> None:
    """§6. Runs first: the server was started with an empty config, which is no config."""
    assert site.answer_refused("m", "stable") == (
        "UNAVAILABLE",
        "Model labels does not init yet.stable",
    )


# ---- §2: reload ------------------------------------------------------------------------------------------------------


def test_a_reload_returns_when_its_new_models_answer(site: Site) -> None:
    """Also when base paths are looked at once only: a reload looks itself."""
    site.publish("first", 1)
    reply = site.reload(models("first"))
    assert (reply.status.error_code, reply.status.error_message) == (0, "")
    assert site.answer("first") == 3.0
    site.publish("second", 1, 2)
    site.reload(models("first", f"second {ALL}"))
    # One version that answers is enough; the others follow.
    assert site.answer("second") in {3.0, 4.0}
    eventually(
        "so does 1", lambda: site.server.states("second") == {1: "AVAILABLE", 2: "AVAILABLE"}
    )
    assert (site.answer("second"), site.answer("second", version=1)) == (4.0, 3.0)
    assert site.server.get("/readyz").json()["models"] == {"first": True, "second": True}


def test_a_model_that_is_no_longer_named_is_unloaded(site: Site) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    site.publish("going", 1)
    site.publish("staying", 1)
    site.reload(models("going", "staying"))
    health = health_pb2_grpc.HealthStub(site.stubs.channel)
    ask = health_pb2.HealthCheckRequest(service="going")
    assert health.Check(ask).status == health_pb2.HealthCheckResponse.SERVING
    site.reload(models("staying"))
    eventually("it is unloaded", lambda: site.server.states("going") == {1: "END"})
    assert site.server.predict("going", {"instances": [1.0]}).json() == {
        "error": "Servable not found for request: Latest(going)"
    }
    assert health.Check(ask).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert site.answer("staying") == 3.0
    assert site.server.get("/readyz").json()["models"] == {"staying": True}
    site.reload(models("going", "staying"))
    assert site.answer("going") == 3.0


def test_health_follows_models_that_never_had_a_version(site: Site) -> None:
    """Such a model comes and goes without any version changing its state."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    site.publish("present", 1)
    health = health_pb2_grpc.HealthStub(site.stubs.channel)

    def serves() -> bool:
        answer = health.Check(health_pb2.HealthCheckRequest(service=""))
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    site.reload(models("present"))
    eventually("the server serves", serves)
    site.refused(models("present", "absent"))
    eventually("the server is not ready", lambda: not serves())
    site.reload(models("present"))
    eventually("the server serves again", serves)


def test_an_empty_list_unloads_everything(site: Site) -> None:
    site.publish("only", 1)
    site.reload(models("only"))
    site.reload("model_config_list {}")
    eventually("it is unloaded", lambda: site.server.states("only") == {1: "END"})
    assert site.server.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "text", ["", 'custom_model_config { type_url: "x" }'], ids=["none", "custom"]
)
def test_only_a_list_is_accepted(site: Site, text: str) -> None:
    assert site.refused(text) == (
        "INVALID_ARGUMENT",
        (
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
            "supported"
        ),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (models("a", "a"), "Illegal to list model a multiple times in config list"),
        (
            'model_config_list { config { name: "a" base_path: "a/b" model_platform: "tensorflow" } }',
            "Expected model a to have an absolute path or URI; got base_path()=a/b",
        ),
        (
            'model_config_list { config { name: "a" base_path: "/a" } }',
            (
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform, model name is a"
            ),
        ),
        (
            models("a model_type: TENSORFLOW"),
            (
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                "ModelServerConfig::model_platform, model name is a"
            ),
        ),
        (
            'model_config_list { config { name: "a" base_path: "/a" model_platform: "x" } }',
            "Model a requests unsupported platform x",
        ),
        (
            'model_config_list { config { name: "a" base_path: "/a" model_type: OTHER } }',
            "Model a requests unsupported platform other",
        ),
        (
            'model_config_list { config { name: "kept" base_path: "ROOT/kept" model_platform: "x" } }',
            (
                "Illegal to change a model's platform. For model kept platform was tensorflow and new platform "
                "requested is x"
            ),
        ),
    ],
)
def test_a_list_that_is_refused_changes_nothing(site: Site, text: str, message: str) -> None:
    site.publish("kept", 1) if not (site.root / "kept").exists() else None
    site.reload(models("kept"))
    assert site.refused(text) == ("INVALID_ARGUMENT", message)
    assert site.answer("kept") == 3.0


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (
            "missing",
            (
                "{name: missing} due to error: INVALID_ARGUMENT: Could not find base path ROOT/missing for servable "
                "missing with error NOT_FOUND: ROOT/missing not found"
            ),
        ),
        (
            "empty",
            (
                "{name: empty} due to error: NOT_FOUND: No versions of servable empty found under base path "
                "ROOT/empty. Did you forget to name your leaf directory as a number (eg. '/1/')?"
            ),
        ),
        (
            "hollow",
            "{name: hollow version: 7} due to error: NOT_FOUND: ",
        ),
    ],
)
def test_a_new_model_that_cannot_answer_is_told_and_blocks_nothing(
    site: Site, base: str, reason: str
) -> None:
    (site.root / "empty").mkdir(exist_ok=True)
    (site.root / "hollow" / "7").mkdir(parents=True, exist_ok=True)
    if not (site.root / "beside").exists():
        site.publish("beside", 1)
    site.reload("model_config_list {}")
    code, message = site.refused(models(base, "beside"))
    assert code == "UNKNOWN"
    assert message.startswith(
        f"1 model(s) did not become available: {{{reason.replace('ROOT', str(site.root))}"
    )
    assert message.endswith(", }")
    eventually("the other one answers", lambda: site.answer("beside") == 3.0)
    # The change was made all the same: the model is looked for at the next reload.
    site.reload(models(base, "beside"))


def test_metrics_of_a_reload(site: Site) -> None:
    site.publish("counted", 1)
    classic = ":tensorflow:serving:request_count"
    before = site.server.predict("counted", {"instances": [1.0]})
    assert before.status_code == 404
    loads = "/tensorflow/cc/saved_model/load_attempt_count"
    names = (classic, "/tensorflow/serving/request_count", loads, "slipway_requests", "none", "")
    reply = site.reload(models("counted"), *names, loads)
    counted = [(metric.name, metric.int64_value_increase) for metric in reply.metric]
    # Each name that was asked for, once, as TensorFlow Serving answers: also what is no counter here.
    assert [name for name, _ in counted] == list(names)
    assert dict(counted) == dict.fromkeys(names, 0) | {loads: 1}


def test_a_request_that_is_no_message(site: Site) -> None:
    call = site.stubs.channel.unary_unary(
        "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
    )
    assert site.stubs.refused(call, b"\xff") == (
        "INTERNAL",
        "The request is not a ReloadConfigRequest message",
    )


# ---- §3: the three policies at run time ------------------------------------------------------------------------------


def test_the_version_policy_changes_at_run_time(site: Site) -> None:
    site.publish("policies", 1, 2, 3)
    site.reload(models("policies"))
    assert site.server.states("policies") == {3: "AVAILABLE"}
    site.reload(models("policies model_version_policy { specific { versions: 1 versions: 2 } }"))
    eventually(
        "1 and 2 serve, 3 does not",
        lambda: site.server.states("policies") == {1: "AVAILABLE", 2: "AVAILABLE", 3: "END"},
    )
    site.reload(models(f"policies {ALL}"))
    eventually("all serve", lambda: set(site.server.states("policies").values()) == {"AVAILABLE"})
    site.reload(models("policies model_version_policy { latest { num_versions: 2 } }"))
    eventually("1 goes", lambda: site.server.states("policies")[1] == "END")
    # None of what is asked for is there: that unloads nothing. An empty list asks for nothing.
    site.reload(models("policies model_version_policy { specific { versions: 9 } }"))
    site.reload(models("policies model_version_policy { specific { } }"))
    eventually("all go", lambda: set(site.server.states("policies").values()) == {"END"})
    said = [line["warning"] for line in site.server.events("version discovery")]
    assert "No specific versions requested for servable policies." in said
    assert any(
        warning.startswith("Version 9 of servable policies, which was requested")
        for warning in said
    )


# ---- §6: labels ------------------------------------------------------------------------------------------------------


def test_labels(site: Site) -> None:
    site.publish("named", 1, 2)
    both = f"{label('stable', 1)} {label('old', 1)} {label('canary', 2)}"
    site.reload(models(f"named {ALL} {both}"))
    both_serve = {1: "AVAILABLE", 2: "AVAILABLE"}
    eventually("both serve", lambda: site.server.states("named") == both_serve)
    answers = [site.answer("named", label=one) for one in ("stable", "old", "canary")]
    assert answers == [3.0, 3.0, 4.0]
    rest = site.server.predict("named", {"instances": [1.0]}, "/labels/old")
    assert rest.json() == {"predictions": [3.0]}
    assert site.server.get("/readyz").json()["labels"] == {
        "named": {"stable": 1, "old": 1, "canary": 2}
    }
    # Replaced as a whole.
    site.reload(models(f"named {ALL} {label('stable', 2)}"))
    assert site.answer("named", label="stable") == 4.0
    unknown = "Unrecognized servable version label: canary"
    assert site.answer_refused("named", "canary") == ("INVALID_ARGUMENT", unknown)
    answer = site.server.predict("named", {"instances": [1.0]}, "/labels/canary")
    assert (answer.status_code, answer.json()) == (400, {"error": unknown})


def test_a_label_may_come_before_its_version(site: Site) -> None:
    """A step that TensorFlow Serving refuses: a new version and its label in one reload."""
    base = site.publish("ahead", 1)
    site.reload(models(f"ahead {label('next', 2)}"))
    absent = "Servable not found for request: Specific(ahead, 2)"
    assert site.answer_refused("ahead", "next") == ("NOT_FOUND", absent)
    site.publish("ahead", 2)
    site.reload(models(f"ahead {ALL} {label('next', 2)}"))
    eventually("it is loaded", lambda: site.server.states("ahead").get(2) == "AVAILABLE")
    assert site.answer("ahead", label="next") == 4.0
    shutil.rmtree(base / "2")
    site.reload(models(f"ahead {ALL} {label('next', 2)}"))
    eventually("it is unloaded", lambda: site.server.states("ahead").get(2) == "END")
    assert site.answer_refused("ahead", "next") == ("NOT_FOUND", absent)


# ---- §5: status ------------------------------------------------------------------------------------------------------


def test_status_over_both_protocols(site: Site) -> None:
    from google.protobuf import json_format
    from tensorflow_serving.apis import get_model_status_pb2 as pb

    site.publish("told", 1, 2)
    (site.root / "told" / "10").mkdir()
    site.reload(models(f"told {ALL} {label('stable', 1)}"))
    settled = {10: "END", 2: "AVAILABLE", 1: "AVAILABLE"}
    eventually("10 has failed, 1 and 2 serve", lambda: site.server.states("told") == settled)
    body = site.server.get("/v1/models/told").json()
    [failed, *serving] = body["model_version_status"]
    assert serving == [
        {
            "version": version,
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        for version in ("2", "1")
    ]
    assert (failed["version"], failed["state"], failed["status"]["error_code"]) == (
        "10",
        "END",
        "NOT_FOUND",
    )
    ask = pb.GetModelStatusRequest()
    ask.model_spec.name = "told"
    reply = site.stubs.model.GetModelStatus(ask)
    assert (
        json_format.MessageToDict(
            reply, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        == body
    )
    # A label alone is ignored, also one that there is not.
    for name in ("stable", "nobody"):
        ask.model_spec.version_label = name
        assert len(site.stubs.model.GetModelStatus(ask).model_version_status) == 3
        assert site.server.get(f"/v1/models/told/labels/{name}").json() == body
    one = site.server.get("/v1/models/told/versions/2").json()
    assert one["model_version_status"] == serving[:1]
    for path, message in (
        ("told/versions/9", "Could not find version 9 of model told"),
        ("nobody", "Could not find any versions of model nobody"),
        ("nobody/versions/9", "Could not find version 9 of model nobody"),
    ):
        answer = site.server.get(f"/v1/models/{path}")
        assert (answer.status_code, answer.json()) == (404, {"error": message})
