"""The children of a Model: what their manifests must hold, whatever the spec."""

from typing import Any

import pytest

from slipway_operator.api.names import (
    MODEL_LABEL,
    ROTATION_LABEL,
    SELECTS_LABEL,
    SELECTS_ROTATION,
    SERVABLE_LABEL,
)
from slipway_operator.api.resource import ModelResource, parse
from slipway_operator.model.pvc import Sharing
from slipway_operator.model.servable import Servable
from slipway_operator.rendering.deployment import deployment, disruption_budget
from slipway_operator.rendering.inputs import servable
from slipway_operator.rendering.pvc import claim_manifest, volume_label
from slipway_operator.rendering.services import (
    label_service,
    model_service,
    next_service,
    pods_service,
    version_service,
)
from slipway_operator.rendering.settings import RenderSettings
from slipway_operator.rendering.volume_watcher import is_current, watcher

SETTINGS = RenderSettings("server:1", "sync:1")
FULL: dict[str, Any] = {
    "modelName": "half_plus_two",
    "source": {
        "uri": "s3://models/digits",
        "endpoint": "http://s3.test:9000",
        "region": "eu-west-1",
        "credentialsSecret": "digits-s3",
        "completionMarker": "DONE",
    },
    "serving": {
        "replicas": 3,
        "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "8Gi"}},
        "env": [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "1"}],
        "podLabels": {"team": "vision"},
        "nodeSelector": {"gpu": "a100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "imagePullSecrets": ["pull"],
        "serviceAccount": "models",
        "drainSeconds": 20,
    },
}
BARE: dict[str, Any] = {"source": {"uri": "s3://models/digits"}}


def model(spec: dict[str, Any]) -> ModelResource:
    return parse({"metadata": {"name": "digits", "namespace": "ml", "uid": "u1"}, "spec": spec})


def rendered(spec: dict[str, Any], settings: RenderSettings = SETTINGS) -> dict[str, Any]:
    parsed = model(spec)
    return deployment(parsed, servable(parsed, 3, "00000003", "a" * 64), 2, settings)


def pod_of(spec: dict[str, Any], settings: RenderSettings = SETTINGS) -> dict[str, Any]:
    found: dict[str, Any] = rendered(spec, settings)["spec"]["template"]["spec"]
    return found


def containers(pod: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    [sync] = pod["initContainers"]
    [server] = pod["containers"]
    return sync, server


def test_a_server_that_has_started_or_become_ready_is_noticed_within_a_second() -> None:
    _, server = containers(pod_of(BARE))
    for probe in ("startupProbe", "readinessProbe"):
        assert server[probe]["periodSeconds"] == 1
    # One lost answer takes no pod out, and neither does a pause shorter than the timeout.
    assert server["readinessProbe"]["failureThreshold"] == 2
    assert server["readinessProbe"]["timeoutSeconds"] == 5


@pytest.mark.parametrize("spec", [BARE, FULL], ids=["bare", "full"])
def test_a_pod_passes_the_restricted_pod_security_standard(spec: dict[str, Any]) -> None:
    pod = pod_of(spec)
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 65532
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }
    kinds = {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]}
    assert kinds <= {"emptyDir", "secret"}


@pytest.mark.parametrize("spec", [BARE, FULL], ids=["bare", "full"])
def test_the_server_gets_no_token_no_credentials_and_no_writable_model(
    spec: dict[str, Any],
) -> None:
    pod = pod_of(spec)
    sync, server = containers(pod)
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    mounts = {mount["name"]: mount for mount in server["volumeMounts"]}
    assert mounts.keys() == {"models", "tmp"}
    assert mounts["models"]["readOnly"] is True
    given = {"credentials"} if spec is FULL else set()
    assert {m["name"] for m in sync["volumeMounts"]} - {"models", "tmp"} == given
    assert "envFrom" not in server
    assert "env" not in sync


def test_credentials_are_a_read_only_mount_and_no_argument() -> None:
    pod = pod_of(FULL)
    sync, server = containers(pod)
    [secret] = [volume for volume in pod["volumes"] if "secret" in volume]
    assert secret["secret"]["secretName"] == "digits-s3"
    [mount] = [m for m in sync["volumeMounts"] if m["name"] == secret["name"]]
    assert mount["readOnly"] is True
    assert f"--credentials={mount['mountPath']}" in sync["args"]
    assert "digits-s3" not in " ".join(sync["args"] + server["args"])


def test_the_agent_is_told_exactly_what_was_planned() -> None:
    sync, _ = containers(pod_of(FULL))
    assert sync["args"][0] == "fetch"
    assert set(sync["args"][1:]) == {
        "--source=s3://models/digits",
        "--directory=00000003",
        "--version=3",
        f"--revision={'a' * 64}",
        "--destination=/models/digits",
        "--addressing=path",
        "--termination-log=/dev/termination-log",
        "--endpoint=http://s3.test:9000",
        "--region=eu-west-1",
        "--completion-marker=DONE",
        "--credentials=/var/run/slipway/credentials",
    }


def test_the_server_serves_what_the_agent_brings_under_the_clients_name() -> None:
    sync, server = containers(pod_of(FULL))
    assert "--model_name=half_plus_two" in server["args"]
    assert "--model_base_path=/models/digits" in server["args"]
    assert "--destination=/models/digits" in sync["args"]
    assert "--exit_on_failed_load=true" in server["args"]
    assert "--file_system_poll_wait_seconds=0" in server["args"]


def test_batching_becomes_the_servers_flags_and_its_absence_none() -> None:
    def args(**serving: Any) -> list[str]:
        _, server = containers(pod_of({**BARE, "serving": serving}))
        return list(server["args"])

    assert not any("batching" in flag for flag in args())
    sizes = {"maxBatchSize": 8, "allowedBatchSizes": [4, 8]}
    assert args(batching={**sizes, "timeout": "5ms", "threads": 2})[-2:] == [
        "--enable_batching=true",
        (
            "--batching_parameters=max_batch_size { value: 8 } batch_timeout_micros { value: 5000 } "
            "max_enqueued_batches { value: 10 } num_batch_threads { value: 2 } "
            "allowed_batch_sizes: 4 allowed_batch_sizes: 8"
        ),
    ]
    padded = args(batching={"padVariableLengthInputs": True})[-1]
    assert padded.endswith("pad_variable_length_inputs: true")


def test_the_agent_may_go_where_the_administrator_allows() -> None:
    networks = ("169.254.20.0/24", "fe80::/64")
    sync, _ = containers(pod_of(FULL, RenderSettings("server:1", "sync:1", "Never", networks)))
    given = [argument for argument in sync["args"] if "network" in argument]
    assert given == [f"--allow-network={network}" for network in networks]


@pytest.mark.parametrize(
    ("own", "proxy"),
    [("", "http://corp:3128"), ("http://own:8080", "http://own:8080")],
)
def test_the_sync_goes_through_the_models_proxy_or_the_installations(own: str, proxy: str) -> None:
    settings = RenderSettings(
        "server:1", "sync:1", proxy="http://corp:3128", no_proxy=(".svc", "10.0.0.0/8")
    )
    sync, _ = containers(pod_of({"source": {"uri": "https://h/m", "proxy": own}}, settings))
    given = [arg for arg in sync["args"] if "proxy" in arg]
    assert given == [f"--proxy={proxy}", "--no-proxy=.svc", "--no-proxy=10.0.0.0/8"]
    assert "network" not in str(containers(pod_of(FULL)))


@pytest.mark.parametrize("drain", [0, 12, 3600])
def test_the_kubelet_waits_longer_than_the_drain(drain: int) -> None:
    pod = pod_of({**BARE, "serving": {"drainSeconds": drain}})
    _, server = containers(pod)
    assert f"--drain_seconds={drain}" in server["args"]
    assert pod["terminationGracePeriodSeconds"] >= drain + 15


def test_probes_ask_the_rest_port_and_readiness_is_not_liveness() -> None:
    _, server = containers(pod_of(BARE))
    asked = {
        name: server[name]["httpGet"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert asked == {
        "startupProbe": {"path": "/livez", "port": "rest"},
        "livenessProbe": {"path": "/livez", "port": "rest"},
        "readinessProbe": {"path": "/readyz?wait=1", "port": "rest"},
    }
    startup = server["startupProbe"]
    assert (
        startup["periodSeconds"] * startup["failureThreshold"] >= 600
    )  # TensorFlow on a busy node
    assert {p["name"]: p["containerPort"] for p in server["ports"]} == {"grpc": 8500, "rest": 8501}


def test_a_person_can_add_labels_but_not_take_ours_away() -> None:
    labels = rendered(FULL)["spec"]["template"]["metadata"]["labels"]
    selector = rendered(FULL)["spec"]["selector"]["matchLabels"]
    assert labels["team"] == "vision"
    assert selector.items() <= labels.items()
    assert selector.keys() == {MODEL_LABEL, SERVABLE_LABEL}
    assert ROTATION_LABEL not in labels


def test_what_a_person_asked_for_is_in_the_pod() -> None:
    pod = pod_of(FULL)
    _, server = containers(pod)
    assert server["resources"] == {"limits": {"nvidia.com/gpu": 1, "memory": "8Gi"}}
    assert server["env"] == [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "1"}]
    assert pod["nodeSelector"] == {"gpu": "a100"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["serviceAccountName"] == "models"
    assert server["image"] == "server:1"
    assert containers(pod_of({**BARE, "serving": {"image": "mine:2"}}))[1]["image"] == "mine:2"


def test_every_child_goes_with_the_model_and_holds_nothing_up() -> None:
    parsed = model(FULL)
    children = [
        rendered(FULL),
        model_service(parsed, SELECTS_ROTATION),
        version_service(parsed, 3),
        disruption_budget(parsed),
    ]
    for child in children:
        [owner] = child["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
            "u1",
            True,
            False,
        )
        assert child["metadata"]["namespace"] == "ml"
        assert child["metadata"]["labels"][MODEL_LABEL] == "digits"
        assert "finalizers" not in child["metadata"]


# The key: what restarts pods, and what does not. ---------------------------------------------------


def key(spec: dict[str, Any], revision: str = "a") -> str:
    return servable(model(spec), 3, "3", revision).key


@pytest.mark.parametrize(
    "edit",
    [
        {"image": "other:1"},
        {"resources": {"limits": {"nvidia.com/gpu": 2}}},
        {"env": [{"name": "A", "value": "b"}]},
        {"drainSeconds": 30},
        {"nodeSelector": {"a": "b"}},
    ],
)
def test_a_change_of_what_is_in_the_pods_is_another_servable(edit: dict[str, Any]) -> None:
    assert key({**BARE, "serving": edit}) != key(BARE)


@pytest.mark.parametrize(
    "edit",
    [
        {"serving": {"replicas": 7}},
        {"serving": {}},
        {
            "serving": {"drainSeconds": 12, "env": [], "image": ""}
        },  # as the API server defaults them
        {"source": {**BARE["source"], "pollInterval": "1m", "settle": "9s"}},
        {"source": {**BARE["source"], "addressing": "path", "allowMutation": True}},
        {"transition": {"policy": "ResourcePreserving"}},
        {"versions": {"latest": 2}},
        {"labels": {"stable": 3}},
        {"modelName": "digits"},  # what the default says already
    ],
)
def test_any_other_change_and_a_written_default_restart_no_pod(edit: dict[str, Any]) -> None:
    assert key({**BARE, **edit}) == key(BARE)


def test_another_revision_is_another_servable() -> None:
    assert key(BARE, "b") != key(BARE, "a")


def test_the_key_is_the_same_in_every_release() -> None:
    """T8: were it computed otherwise, an upgrade of the operator would restart every pod."""
    assert servable(model(BARE), 3, "3", "a" * 64) == Servable(3, "3", "a" * 64, "61890f96")
    assert servable(model(FULL), 3, "3", "a" * 64).key == "972eefe2"


# Services ------------------------------------------------------------------------------------------


def test_name_selects_one_servable_or_the_rotation() -> None:
    steady = model_service(model(BARE), "v3-aaaaaaaa")
    assert steady["spec"]["selector"] == {MODEL_LABEL: "digits", SERVABLE_LABEL: "v3-aaaaaaaa"}
    mixed = model_service(model(BARE), SELECTS_ROTATION)
    assert mixed["spec"]["selector"] == {MODEL_LABEL: "digits", ROTATION_LABEL: "in"}
    assert mixed["metadata"]["labels"][SELECTS_LABEL] == SELECTS_ROTATION


def test_next_and_pods_select_what_name_selects() -> None:
    for selects in (SELECTS_ROTATION, "v3-aaaaaaaa"):
        expected = model_service(model(BARE), selects)["spec"]["selector"]
        for other in (next_service(model(BARE), selects), pods_service(model(BARE), selects)):
            assert other["spec"]["selector"] == expected
            assert other["spec"]["clusterIP"] == "None"


def test_a_version_and_a_label_reach_every_pod_of_the_version() -> None:
    version = version_service(model(BARE), 3)
    label = label_service(model(BARE), "stable", 3)
    assert version["metadata"]["name"] == "digits-v3"
    assert label["metadata"]["name"] == "digits-stable"
    template = rendered(BARE)["spec"]["template"]["metadata"]["labels"]
    for service in (version, label):
        assert service["spec"]["selector"].items() <= template.items()


def test_no_service_shows_a_pod_that_is_not_ready() -> None:
    """T1."""
    parsed = model(BARE)
    for service in (
        model_service(parsed, SELECTS_ROTATION),
        next_service(parsed, SELECTS_ROTATION),
        pods_service(parsed, SELECTS_ROTATION),
        version_service(parsed, 3),
        label_service(parsed, "stable", 3),
    ):
        assert not service["spec"].get("publishNotReadyAddresses")


def test_at_most_one_pod_is_evicted_at_a_time() -> None:
    budget = disruption_budget(model(FULL))
    assert budget["spec"] == {
        "maxUnavailable": 1,
        "selector": {"matchLabels": {MODEL_LABEL: "digits"}},
    }


PVC: dict[str, Any] = {
    "source": {"uri": "pvc://exports/team $$/digits/", "completionMarker": "DONE"},
    "serving": {
        "nodeSelector": {"gpu": "a100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "imagePullSecrets": ["pull"],
    },
}
CACHED: dict[str, Any] = {
    "source": {"uri": "s3://models/digits", "credentialsSecret": "digits-s3"},
    "serving": {"cache": {"persistentVolumeClaim": "shelf"}},
}


def mounts(container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


def test_a_cache_shows_a_server_its_version_and_nothing_else_of_the_volume() -> None:
    pod = pod_of(CACHED)
    [sync], [server] = pod["initContainers"], pod["containers"]
    assert mounts(sync)["/models/digits"] == {
        "name": "claim", "mountPath": "/models/digits", "subPath": "digits",
    }  # fmt: skip
    assert mounts(server)["/models/digits/3"] == {
        "name": "claim",
        "mountPath": "/models/digits/3",
        "subPath": "digits/3-" + "a" * 12,
        "readOnly": True,
    }
    assert len(mounts(server)) == 2, "its version, and room for temporary files"
    assert {"--cache", "--keep=/var/run/slipway/cache/keep.json"} < set(sync["args"])
    assert "--destination=/models/digits" in sync["args"]
    assert mounts(sync)["/var/run/slipway/cache"]["readOnly"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["claim"]["persistentVolumeClaim"] == {"claimName": "shelf"}
    assert volumes["keep"]["configMap"] == {"name": "digits-cache", "optional": True}
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_without_a_cache_nothing_of_it_is_rendered() -> None:
    pod = pod_of(BARE)
    assert pod["volumes"][0] == {"name": "models", "emptyDir": {}}
    assert "--cache" not in pod["initContainers"][0]["args"]
    assert "fsGroupChangePolicy" not in pod["securityContext"]
    assert "affinity" not in pod


def test_a_volume_that_is_the_source_is_verified_and_served_where_it_lies() -> None:
    pod = pod_of(PVC)
    [sync], [server] = pod["initContainers"], pod["containers"]
    assert sync["args"] == [
        "verify",
        "--mount=/source",
        "--path=team $$$$/digits",  # Kubernetes makes one $ of two.
        "--directory=00000003",
        "--version=3",
        f"--revision={'a' * 64}",
        "--completion-marker=DONE",
        "--termination-log=/dev/termination-log",
    ]
    assert mounts(sync)["/source"] == {"name": "claim", "mountPath": "/source", "readOnly": True}
    assert mounts(server)["/models/digits/3"] == {
        "name": "claim",
        "mountPath": "/models/digits/3",
        "subPath": "team $$/digits/00000003",
        "readOnly": True,
    }
    claim = {"claimName": "exports", "readOnly": True}
    assert {"name": "claim", "persistentVolumeClaim": claim} in pod["volumes"]
    assert "fsGroup" not in pod["securityContext"], "the files are somebody else's"


def test_a_volume_that_is_the_source_needs_keys_and_nothing_for_a_network() -> None:
    signature = {"publicKey": {"secret": "keys", "key": "k.pem"}}
    more = {"signature": signature, "caBundle": {"configMap": "corp-ca"}}
    pod = pod_of(PVC | {"source": PVC["source"] | more})
    [sync] = pod["initContainers"]
    assert "--public-key=/var/run/slipway/public-key/publicKey.pem" in sync["args"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(volumes) == {"claim", "tmp", "public-key"}
    assert volumes["public-key"]["secret"]["defaultMode"] == 0o444
    found = watcher(model(PVC | {"source": PVC["source"] | more}), SETTINGS, Sharing.ANYWHERE)
    assert found is not None
    watching = found["spec"]["template"]["spec"]
    assert watching["volumes"] == pod["volumes"]
    assert sync["args"][-1] in watching["containers"][0]["args"]
    assert mounts(sync)["/var/run/slipway/public-key"] in watching["containers"][0]["volumeMounts"]


def test_whoever_looks_at_an_export_looks_for_the_tags_that_the_server_loads() -> None:
    tags = {"serving": {"tags": ["serve", "gpu"]}}
    flags = ["--tag=gpu", "--tag=serve"]
    for spec in (BARE | tags, PVC | tags):
        [sync] = pod_of(spec)["initContainers"]
        assert [arg for arg in sync["args"] if arg.startswith("--tag")] == flags
    found = watcher(model(PVC | tags), SETTINGS, Sharing.ANYWHERE)
    assert found is not None
    [container] = found["spec"]["template"]["spec"]["containers"]
    assert container["args"][-2:] == flags


def test_the_watcher_is_small_restricted_and_no_pod_of_the_models_services() -> None:
    found = watcher(model(PVC), SETTINGS, Sharing.ANYWHERE)
    assert found is not None
    template = found["spec"]["template"]
    pod = template["spec"]
    [container] = pod["containers"]
    assert container["args"] == [
        "watch", "--mount=/source", "--path=team $$$$/digits", "--poll-interval=30", "--settle=5",
        "--complete=17", "--completion-marker=DONE",
    ]  # fmt: skip
    assert MODEL_LABEL not in template["metadata"]["labels"]
    assert SERVABLE_LABEL not in template["metadata"]["labels"]
    assert (
        found["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    )
    assert pod["automountServiceAccountToken"] is False
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "exports", "readOnly": True}
    assert mounts(container)["/source"]["readOnly"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert "fsGroup" not in pod["securityContext"]
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert "affinity" not in pod
    assert "nodeSelector" not in pod
    assert watcher(model(BARE), SETTINGS, Sharing.ANYWHERE) is None


def test_on_a_volume_of_one_node_watcher_and_servers_share_it() -> None:
    found = watcher(model(PVC), SETTINGS, Sharing.ONE_NODE)
    parsed = model(PVC)
    servers = deployment(
        parsed, servable(parsed, 3, "3", "a" * 64), 2, SETTINGS, sharing=Sharing.ONE_NODE
    )
    assert found is not None
    for template in (found["spec"]["template"], servers["spec"]["template"]):
        [term] = template["spec"]["affinity"]["podAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        labels = template["metadata"]["labels"]
        assert term["labelSelector"]["matchLabels"].items() <= labels.items()
        assert template["spec"]["nodeSelector"] == {"gpu": "a100"}


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"source": {"settle": "9s"}}, True),
        ({"source": {"uri": "pvc://exports/other"}}, True),
        ({"versions": {"specific": [3]}}, True),
        ({"source": {"allowMutation": True}}, False),
        ({"serving": {"replicas": 7}}, False),
        ({"labels": {"stable": 3}}, False),
    ],
)
def test_a_watcher_is_made_anew_for_what_it_is_told_and_for_nothing_else(
    change: dict[str, Any],
    anew: bool,  # noqa: FBT001
) -> None:
    def of(spec: dict[str, Any], settings: RenderSettings = SETTINGS) -> dict[str, Any]:
        found = watcher(model(spec), settings, Sharing.ANYWHERE)
        assert found is not None
        return found

    other = {**PVC, **{name: {**PVC.get(name, {}), **value} for name, value in change.items()}}
    assert is_current(of(PVC), of(other)) is not anew
    assert is_current(of(PVC), of(PVC, RenderSettings("server:2", "sync:2")))
    assert not is_current({"metadata": {}}, of(PVC))


def test_the_watcher_looks_at_what_the_policy_asks_for() -> None:
    def args(versions: dict[str, Any]) -> list[str]:
        found = watcher(model(PVC | {"versions": versions}), SETTINGS, Sharing.ANYWHERE)
        assert found is not None
        [container] = found["spec"]["template"]["spec"]["containers"]
        return [arg for arg in container["args"] if arg.startswith(("--only", "--complete="))]

    assert args({"latest": 3}) == ["--complete=19"]
    assert args({"specific": [2, 7]}) == ["--only=2", "--only=7"]
    assert args({"all": True}) == ["--complete=256"]


def test_the_own_claim_asks_for_what_the_template_says() -> None:
    template = {"size": "10Gi", "storageClassName": "fast", "accessModes": ["ReadWriteMany"]}
    own = claim_manifest(model(BARE | {"serving": {"cache": {"claimTemplate": template}}}))
    assert own is not None
    assert own["metadata"]["name"] == "digits-cache"
    assert own["metadata"]["ownerReferences"][0]["uid"] == "u1"
    assert own["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "10Gi"}},
        "storageClassName": "fast",
    }
    assert claim_manifest(model(CACHED)) is None


def test_a_claim_with_a_long_name_has_a_label_all_the_same() -> None:
    assert volume_label("shelf") == "shelf"
    assert len(volume_label("s" * 253)) <= 63
    assert volume_label("s" * 253) != volume_label("s" * 252)
