"""The hash of a version's inputs: literal values, so that an upgrade of the operator restarts no pod.

A value that changes here restarts every model that is like the row when the operator is upgraded.
"""

from typing import Any, Final

import pytest

from slipway_operator.api.resource import ModelResource
from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import ModelStatus
from slipway_operator.rendering.inputs import servable

S3: Final = {"source": {"uri": "s3://models/digits"}}
BATCHING: Final = {
    "maxBatchSize": 64,
    "timeout": "5ms",
    "allowedBatchSizes": [8, 64],
    "maxEnqueuedBatches": 20,
    "threads": 4,
    "padVariableLengthInputs": True,
}
EVERY_SERVING_FIELD: Final[dict[str, Any]] = {
    "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "2Gi"}, "requests": {"cpu": "500m"}},
    "tags": ["serve", "gpu"],
    "batching": BATCHING,
    "image": "registry.test/server:1",
    "imagePullSecrets": ["pull"],
    "env": [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "2"}, {"name": "EMPTY"}],
    "podLabels": {"team": "vision"},
    "podAnnotations": {"example.com/scrape": "true"},
    "nodeSelector": {"gpu": "a100"},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "spot", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 30},
    ],
    "priorityClassName": "high",
    "runtimeClassName": "nvidia",
    "serviceAccount": "digits",
    "drainSeconds": 45,
}

TABLE: Final[list[tuple[str, dict[str, Any], str]]] = [
    ("defaults", S3, "3495afdc"),
    (
        "what no pod is made from",
        {
            "source": {**S3["source"], "pollInterval": "1m", "settle": "0s", "allowMutation": True},
            "serving": {"replicas": 7},
            "labels": {"stable": 3},
            "versions": {"latest": 2},
            "transition": {"policy": "ResourcePreserving"},
        },
        "3495afdc",
    ),
    ("model name", {**S3, "modelName": "Digits_v2"}, "20b51879"),
    ("every serving field", {**S3, "serving": EVERY_SERVING_FIELD}, "b3603f7e"),
    (
        "serving.resources",
        {**S3, "serving": {"resources": EVERY_SERVING_FIELD["resources"]}},
        "99bb1b0b",
    ),
    ("serving.tags", {**S3, "serving": {"tags": EVERY_SERVING_FIELD["tags"]}}, "6939727c"),
    (
        "serving.batching",
        {**S3, "serving": {"batching": EVERY_SERVING_FIELD["batching"]}},
        "855c56ba",
    ),
    ("serving.image", {**S3, "serving": {"image": EVERY_SERVING_FIELD["image"]}}, "03836015"),
    (
        "serving.imagePullSecrets",
        {**S3, "serving": {"imagePullSecrets": EVERY_SERVING_FIELD["imagePullSecrets"]}},
        "14c62cf6",
    ),
    ("serving.env", {**S3, "serving": {"env": EVERY_SERVING_FIELD["env"]}}, "844ba75f"),
    (
        "serving.podLabels",
        {**S3, "serving": {"podLabels": EVERY_SERVING_FIELD["podLabels"]}},
        "513137b0",
    ),
    (
        "serving.podAnnotations",
        {**S3, "serving": {"podAnnotations": EVERY_SERVING_FIELD["podAnnotations"]}},
        "379582db",
    ),
    (
        "serving.nodeSelector",
        {**S3, "serving": {"nodeSelector": EVERY_SERVING_FIELD["nodeSelector"]}},
        "7371b879",
    ),
    (
        "serving.tolerations",
        {**S3, "serving": {"tolerations": EVERY_SERVING_FIELD["tolerations"]}},
        "c449b174",
    ),
    (
        "serving.priorityClassName",
        {**S3, "serving": {"priorityClassName": EVERY_SERVING_FIELD["priorityClassName"]}},
        "e16abc15",
    ),
    (
        "serving.runtimeClassName",
        {**S3, "serving": {"runtimeClassName": EVERY_SERVING_FIELD["runtimeClassName"]}},
        "abc3102c",
    ),
    (
        "serving.serviceAccount",
        {**S3, "serving": {"serviceAccount": EVERY_SERVING_FIELD["serviceAccount"]}},
        "f28cadb9",
    ),
    (
        "serving.drainSeconds",
        {**S3, "serving": {"drainSeconds": EVERY_SERVING_FIELD["drainSeconds"]}},
        "42c87b6e",
    ),
    (
        "existing claim",
        {**S3, "serving": {"cache": {"persistentVolumeClaim": "shared"}}},
        "5d1e1c7e",
    ),
    (
        "claim template",
        {
            **S3,
            "serving": {
                "cache": {"claimTemplate": {"size": "10Gi", "accessModes": ["ReadWriteOnce"]}}
            },
        },
        "07f640f0",
    ),
    (
        "claim template, larger",
        {
            **S3,
            "serving": {
                "cache": {
                    "claimTemplate": {
                        "size": "20Gi",
                        "accessModes": ["ReadWriteOnce"],
                        "storageClassName": "fast",
                    }
                }
            },
        },
        "07f640f0",
    ),
    (
        "s3 of another provider",
        {
            "source": {
                "uri": "s3://models/digits",
                "endpoint": "https://minio.test:9000",
                "region": "eu-1",
                "addressing": "virtual",
                "credentialsSecret": "keys",
                "proxy": "http://proxy.test:3128",
                "caBundle": {"configMap": "corp-ca"},
                "completionMarker": "_SUCCESS",
            }
        },
        "98837f24",
    ),
    (
        "signed",
        {
            "source": {
                "uri": "s3://models/digits",
                "signature": {"publicKey": {"secret": "keys", "key": "k.pem"}},
            }
        },
        "757381c2",
    ),
    ("gs", {"source": {"uri": "gs://models/digits", "credentialsSecret": "keys"}}, "98ab3c3b"),
    (
        "gs with a service account",
        {
            "source": {"uri": "gs://models/digits", "identity": "ServiceAccount"},
            "serving": {"serviceAccount": "digits"},
        },
        "79c4b8ef",
    ),
    (
        "az",
        {"source": {"uri": "az://models/digits", "endpoint": "https://azurite.test:10000/account"}},
        "42bab01f",
    ),
    (
        "az with ambient identity",
        {"source": {"uri": "az://models/digits", "identity": "Ambient"}},
        "717f45e3",
    ),
    (
        "https",
        {"source": {"uri": "https://models.test/digits", "credentialsSecret": "keys"}},
        "ccc879c8",
    ),
    ("pvc", {"source": {"uri": "pvc://exports/digits"}}, "67861ccd"),
]


def key_of(spec: dict[str, Any]) -> str:
    model = ModelResource(
        namespace="ml",
        name="digits",
        uid="u",
        generation=1,
        resource_version="1",
        spec=ModelSpec.model_validate(spec),
        status=ModelStatus(),
    )
    return servable(model, 3, "00000003", "3a".ljust(64, "0")).key


@pytest.mark.parametrize(("spec", "key"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_hash_of_these_inputs_is_the_one_that_earlier_releases_computed(
    spec: dict[str, Any], key: str
) -> None:
    assert key_of(spec) == key


def test_what_is_not_in_a_pod_is_not_in_the_hash() -> None:
    by_name = {name: key for name, _, key in TABLE}
    assert by_name["what no pod is made from"] == by_name["defaults"]
    assert by_name["claim template, larger"] == by_name["claim template"]
    assert len(set(by_name.values())) == len(by_name) - 2
