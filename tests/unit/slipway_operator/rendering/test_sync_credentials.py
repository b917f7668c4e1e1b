"""What pods are given so that their sync is who the source believes, and trusts whom it should."""

from typing import Any

import pytest

from slipway_operator.api.resource import ModelResource, parse
from slipway_operator.model.actions import CreateDeployment
from slipway_operator.model.source import CloudIdentity
from slipway_operator.planning.plan import plan
from slipway_operator.rendering.deployment import deployment
from slipway_operator.rendering.inputs import servable
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, listed, observed

SETTINGS = RenderSettings("server:1", "sync:1")
ARN = "arn:aws:iam::123456789012:role/reader"
READER = CloudIdentity("reader", "sts.amazonaws.com", (("role-arn", ARN),))
URI = "s3://models/digits"


def model(source: dict[str, Any], account: str = "reader") -> ModelResource:
    spec = {"source": {"uri": URI} | source, "serving": {"serviceAccount": account}}
    return parse({"metadata": {"name": "digits", "namespace": "ml", "uid": "u1"}, "spec": spec})


def pod(source: dict[str, Any], account: CloudIdentity | None = None) -> dict[str, Any]:
    of = model(source)
    found = deployment(of, servable(of, 3, "3", "a" * 64), 1, SETTINGS, account=account)
    template: dict[str, Any] = found["spec"]["template"]["spec"]
    return template


def sync(of: dict[str, Any]) -> dict[str, Any]:
    [container] = of["initContainers"]
    return dict(container)


def test_the_sync_alone_gets_a_token_of_the_account_for_the_clouds_audience() -> None:
    made = pod({"identity": "ServiceAccount"}, READER)
    assert made["serviceAccountName"] == "reader"
    assert made["automountServiceAccountToken"] is False
    [volume] = [v for v in made["volumes"] if v["name"] == "identity"]
    assert volume["projected"]["sources"] == [
        {
            "serviceAccountToken": {
                "path": "token",
                "audience": "sts.amazonaws.com",
                "expirationSeconds": 3600,
            }
        }
    ]
    mounted = {"name": "identity", "mountPath": "/var/run/slipway/identity", "readOnly": True}
    assert mounted in sync(made)["volumeMounts"]
    assert sync(made)["args"][-3:] == [
        "--identity=ServiceAccount",
        "--identity-token=/var/run/slipway/identity/token",
        f"--identity-setting=role-arn={ARN}",
    ]
    [server] = made["containers"]
    assert "identity" not in {mount["name"] for mount in server["volumeMounts"]}


def test_the_surroundings_are_asked_for_by_name_and_need_no_volume() -> None:
    made = pod({"identity": "Ambient"})
    assert "--identity=Ambient" in sync(made)["args"]
    assert {volume["name"] for volume in made["volumes"]} == {"models", "tmp"}


@pytest.mark.parametrize(
    ("reference", "volume"),
    [
        (
            {"configMap": "corp", "key": "root.pem"},
            {"configMap": {"name": "corp", "items": [{"key": "root.pem", "path": "ca.crt"}]}},
        ),
        (
            {"secret": "corp"},
            {
                "secret": {
                    "secretName": "corp",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    "defaultMode": 0o444,
                }
            },
        ),
    ],
)
def test_certificates_are_one_file(reference: dict[str, str], volume: dict[str, Any]) -> None:
    made = pod({"caBundle": reference})
    assert {"name": "ca-bundle", **volume} in made["volumes"]
    assert "--ca-bundle=/var/run/slipway/ca-bundle/ca.crt" in sync(made)["args"]
    assert {
        "name": "ca-bundle",
        "mountPath": "/var/run/slipway/ca-bundle",
        "readOnly": True,
    } in sync(made)["volumeMounts"]


def test_the_public_key_is_one_file() -> None:
    made = pod({"signature": {"publicKey": {"configMap": "signers"}}})
    assert {
        "name": "public-key",
        "configMap": {
            "name": "signers",
            "items": [{"key": "publicKey.pem", "path": "publicKey.pem"}],
        },
    } in made["volumes"]
    assert "--public-key=/var/run/slipway/public-key/publicKey.pem" in sync(made)["args"]


def created(
    identity: str, known: CloudIdentity | None = None, settings: RenderSettings = SETTINGS
) -> bool:
    """Whether a plan creates pods for a version that was found complete."""
    found = listed(1)
    source = type(found)(polled=True, versions=found.versions, identity=known)
    of = model({"identity": identity})
    actions = plan(observed(of, source=source), settings, T0).actions
    return any(isinstance(action, CreateDeployment) for action in actions)


def test_no_pods_are_made_before_their_identity_is_known() -> None:
    assert created("")
    assert not created("ServiceAccount")
    assert created("ServiceAccount", READER)
    another = CloudIdentity("another", READER.audience, READER.settings)
    assert not created("ServiceAccount", another)
    assert not created("Ambient")
    assert created("Ambient", settings=RenderSettings("server:1", "sync:1", ambient_identity=True))
