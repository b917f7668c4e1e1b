"""How a source is reached: what is read for it, what is granted, and each sentence when it is not there."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certificates import Authority
from edge import Call, Edge, Reply
from grants import bearer, sts_keys
from local_stores import local_options
from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import ModelResource, parse
from slipway_operator.cluster.client import (
    Client,
    ClusterError,
    ForbiddenError,
    NotFoundError,
    Resource,
)
from slipway_operator.reconcile.sources.access import Access, AccessResolver
from slipway_operator.reconcile.sources.errors import CredentialsError, Installation
from slipway_operator.reconcile.sources.identities import Identities, issuer
from slipway_operator.reconcile.sources.referenced_objects import ReferencedObjects
from slipway_sync.stores import SourceError
from slipway_sync.stores.identity import refresh

ARN = "arn:aws:iam::123456789012:role/reader"
HERE = Installation("slipway-system", "slipway-operator")
BINDS = (
    "allow it with: kubectl create rolebinding slipway-identities -n ml "
    "--clusterrole=slipway-identities --serviceaccount=slipway-system:slipway-operator"
)


class Api(Client):
    """An API server with some objects; `forbidden` paths are, `away` says why it does not answer."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.forbidden: set[str] = set()
        self.away = ""
        self.asked: list[str] = []
        self.tokens: list[dict[str, Any]] = []
        self.issuer = "https://kubernetes.default.svc"

    def put(self, kind: str, name: str, **content: Any) -> None:
        self.objects[f"/api/v1/namespaces/ml/{kind}/{name}"] = {
            "metadata": {"name": name, "uid": f"u-{name}"}
        } | content

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return self._found(resource.path(namespace, name))

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        del query, content_type
        assert method == "POST"
        self._found(path, of=path.removesuffix("/token"))
        self.tokens.append(body["spec"])
        claims = json.dumps({"iss": self.issuer, "aud": body["spec"]["audiences"]}).encode()
        payload = base64.urlsafe_b64encode(claims).decode().rstrip("=")
        return {"status": {"token": f"e30.{payload}.sig{len(self.tokens)}"}}

    def _found(self, path: str, of: str = "") -> dict[str, Any]:
        self.asked.append(path)
        if self.away:
            raise ClusterError(self.away)
        if path in self.forbidden:
            raise ForbiddenError("no", 403)
        if (of or path) not in self.objects:
            raise NotFoundError("no", 404)
        return self.objects[of or path]


class World:
    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.api = Api()
        self.now = 0.0
        objects = ReferencedObjects(self.api, HERE, lambda: self.now)
        identities = Identities(self.api, objects, HERE, environment, lambda: self.now)
        self.access = AccessResolver(objects, identities, local_options())

    def of(self, model: ModelResource) -> Access:
        return asyncio.run(self.access.resolve(model))

    def fails(self, model: ModelResource) -> CredentialsError:
        with pytest.raises(CredentialsError) as caught:
            self.of(model)
        return caught.value


def model(name: str = "digits", account: str = "", **source: Any) -> ModelResource:
    spec = {"source": {"uri": "s3://models/m"} | source, "serving": {"serviceAccount": account}}
    return parse({"metadata": {"name": name, "namespace": "ml", "uid": "u1"}, "spec": spec})


def encoded(**entries: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}


def keys(access: str = "AKIA", secret: str = "s3cr3t") -> dict[str, str]:  # noqa: S107
    return encoded(AWS_ACCESS_KEY_ID=access, AWS_SECRET_ACCESS_KEY=secret)


def annotated(sts: Edge) -> dict[str, Any]:
    annotations = {"eks.amazonaws.com/role-arn": ARN, "slipway.dev/sts-endpoint": sts.url}
    return {"metadata": {"uid": "u-reader", "annotations": annotations}}


BY_ACCOUNT = model(account="reader", identity="ServiceAccount")
BY_SECRET = model(credentialsSecret="s3")


def test_a_secret_that_models_share_is_read_once_in_some_seconds() -> None:
    world = World()
    world.api.put("secrets", "s3", data=keys())
    for name in ("a", "b", "c"):
        world.of(model(name, credentialsSecret="s3"))
    assert len(world.api.asked) == 1
    world.now += 5
    world.api.put("secrets", "s3", data=keys("AKIB"))
    assert world.of(BY_SECRET).options.credentials["AWS_ACCESS_KEY_ID"] == "AKIB"


def test_what_could_not_be_read_is_asked_for_again_at_once() -> None:
    world = World()
    assert world.fails(BY_SECRET).reason == Reason.CREDENTIALS_MISSING
    world.api.put("secrets", "s3", data=encoded(AWS_SECRET_KEY="typo", AWS_ACCESS_KEY_ID="a"))
    wrong = world.fails(BY_SECRET)
    assert "is incomplete: it needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in str(wrong)
    world.now += 5
    world.api.put("secrets", "s3", data=keys() | encoded(unknown="x"))
    assert sorted(world.of(BY_SECRET).options.credentials) == [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ]


def test_refused_credentials_are_read_anew_and_only_others_are_tried() -> None:
    world = World()
    world.api.put("secrets", "s3", data=keys())
    before = world.of(BY_SECRET)
    assert asyncio.run(world.access.renewed(BY_SECRET, before)) is None
    world.api.put("secrets", "s3", data=keys("AKIB"))
    after = asyncio.run(world.access.renewed(BY_SECRET, before))
    assert after is not None
    assert after.options.credentials["AWS_ACCESS_KEY_ID"] == "AKIB"


def test_a_secret_that_names_its_hosts_is_used_for_no_other() -> None:
    world = World()
    metadata = {"annotations": {"slipway.dev/hosts": "minio.ml.svc"}}
    world.api.put("secrets", "s3", metadata=metadata, data=keys())
    elsewhere = model(credentialsSecret="s3", endpoint="https://evil.example.net")
    assert world.fails(elsewhere).reason == Reason.HOST_NOT_ALLOWED
    there = model(credentialsSecret="s3", endpoint="http://minio.ml.svc:9000")
    assert world.of(there).options.credentials["AWS_ACCESS_KEY_ID"] == "AKIA"


def test_an_account_is_exchanged_once_for_all_models_that_share_it() -> None:
    world = World()
    with Edge(lambda _: sts_keys()) as sts:
        world.api.put("serviceaccounts", "reader", **annotated(sts))
        for name in ("a", "b", "c"):
            access = world.of(model(name, "reader", identity="ServiceAccount"))
    assert len(sts.calls) == 1
    assert world.api.tokens == [{"audiences": ["sts.amazonaws.com"], "expirationSeconds": 600}]
    assert access.identity is not None
    assert access.identity.account == "reader"
    assert dict(access.identity.settings) == {"role-arn": ARN, "sts-endpoint": sts.url}
    assert access.options.credentials == {}


def test_another_account_or_place_shares_nothing() -> None:
    world = World()
    with Edge(lambda _: sts_keys()) as sts:
        world.api.put("serviceaccounts", "reader", **annotated(sts))
        world.api.put(
            "serviceaccounts", "other", metadata=annotated(sts)["metadata"] | {"uid": "2"}
        )
        world.of(BY_ACCOUNT)
        world.of(model(account="other", identity="ServiceAccount"))
        world.of(model(account="reader", identity="ServiceAccount", region="eu-west-1"))
    assert len(sts.calls) == 3


def test_an_identity_that_was_refused_is_granted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    with Edge(lambda _: sts_keys()) as sts:
        world.api.put("serviceaccounts", "reader", **annotated(sts))
        before = world.of(BY_ACCOUNT)
        assert asyncio.run(world.access.renewed(BY_ACCOUNT, before)) is None
        monkeypatch.setattr(refresh, "_YOUNG", refresh._YOUNG * 0)
        assert asyncio.run(world.access.renewed(BY_ACCOUNT, before)) is not None
    assert len(sts.calls) == 2


@pytest.mark.parametrize(
    ("uri", "annotation"),
    [
        ("s3://models/m", "eks.amazonaws.com/role-arn"),
        ("gs://models/m", "slipway.dev/gcp-audience"),
        ("az://models/m", "azure.workload.identity/client-id"),
    ],
)
def test_an_account_without_annotation_says_which_one(uri: str, annotation: str) -> None:
    world = World()
    world.api.put("serviceaccounts", "reader")
    error = world.fails(model(account="reader", identity="ServiceAccount", uri=uri))
    assert error.reason == Reason.CREDENTIALS_MISSING
    assert str(error).startswith(f"ServiceAccount ml/reader has no annotation {annotation}")


def test_an_account_that_is_not_there_is_named() -> None:
    error = World().fails(BY_ACCOUNT)
    assert error.reason == Reason.CREDENTIALS_MISSING
    assert str(error) == (
        "ServiceAccount ml/reader does not exist: create it, or name another one in "
        "serving.serviceAccount"
    )


@pytest.mark.parametrize("path", ["", "/token"])
def test_an_account_that_may_not_be_used_comes_with_the_command(path: str) -> None:
    world = World()
    with Edge(lambda _: sts_keys()) as sts:
        world.api.put("serviceaccounts", "reader", **annotated(sts))
        world.api.forbidden.add(f"/api/v1/namespaces/ml/serviceaccounts/reader{path}")
        error = world.fails(BY_ACCOUNT)
    assert error.reason == Reason.CREDENTIALS_FORBIDDEN
    assert str(error).endswith(BINDS)
    assert "ServiceAccount ml/reader" in str(error)


def test_an_api_server_that_is_away_is_no_fault_of_the_account() -> None:
    world = World()
    with Edge(lambda _: sts_keys()) as sts:
        world.api.put("serviceaccounts", "reader", **annotated(sts))
        world.of(BY_ACCOUNT)
        world.api.away = "the API server does not answer"
        assert world.of(BY_ACCOUNT).options.identity is not None
        with pytest.raises(SourceError, match="no token for ServiceAccount ml/reader") as caught:
            world.of(model(account="reader", identity="ServiceAccount", region="eu-west-1"))
    assert caught.value.reason == "Unavailable"


def test_on_gke_the_pool_is_the_clusters_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = "https://container.googleapis.com/v1/projects/prod/locations/eu/clusters/c"
    world = World()
    world.api.issuer = cluster
    world.api.put("serviceaccounts", "reader")
    with Edge(lambda _: bearer("token")) as edge:
        _lead(monkeypatch, edge)
        access = world.of(model(account="reader", identity="ServiceAccount", uri="gs://models/m"))
    assert [token["audiences"] for token in world.api.tokens] == [
        ["slipway.dev"],
        ["prod.svc.id.goog"],
    ]
    pool = f"identitynamespace:prod.svc.id.goog:{cluster}"
    assert access.identity is not None
    assert access.identity.settings == (("audience", pool),)
    assert edge.calls[0].document["audience"] == pool


def _lead(monkeypatch: pytest.MonkeyPatch, edge: Edge) -> None:
    """Let Google's token service be a server of this test."""
    from slipway_sync.stores.identity import google

    pool = google.Pool
    monkeypatch.setattr(google, "Pool", lambda *given: pool(*given, sts=edge.url))


@pytest.mark.parametrize(
    ("token", "found"),
    [("e30.eyJpc3MiOiJodHRwczovL3gifQ.s", "https://x"), ("no-token", ""), ("a.b.c", ""), ("", "")],
)
def test_the_issuer_of_a_token(token: str, found: str) -> None:
    assert issuer(token) == found


def test_the_ambient_identity_is_used_only_where_it_is_allowed() -> None:
    asked = model(identity="Ambient")
    error = World().fails(asked)
    assert error.reason == Reason.CREDENTIALS_FORBIDDEN
    assert "sources.allowAmbientIdentity" in str(error)
    given = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}
    access = World(given).of(asked)
    assert access.options.identity is not None
    granted = asyncio.run(access.options.identity.granted())
    assert granted.values["AWS_ACCESS_KEY_ID"] == "AKIA"
    # And nobody else is signed for with it.
    assert World(given).of(model()).options.identity is None


PEM = Authority().pem.decode()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("configMap", {"data": {"ca.crt": PEM}}),
        ("configMap", {"binaryData": encoded(**{"ca.crt": PEM})}),
        ("secret", {"data": encoded(**{"ca.crt": PEM})}),
    ],
)
def test_certificates_come_from_a_config_map_or_a_secret(kind: str, content: Any) -> None:
    world = World()
    world.api.put(f"{kind.lower()}s", "corp", **content)
    access = world.of(model(caBundle={kind: "corp"}))
    assert access.options.ca_bundle == PEM.encode()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "ConfigMap ml/corp does not exist: source.caBundle names it"),
        ({}, "ConfigMap ml/corp has no entry ca.crt, which source.caBundle names"),
        ({"data": {"ca.crt": ""}}, "ConfigMap ml/corp has no entry ca.crt"),
        ({"data": {"ca.crt": "no PEM"}}, "the entry ca.crt contains no PEM certificates"),
        ({"data": {"ca.crt": "é"}}, "the entry ca.crt contains no PEM certificates"),
        ({"binaryData": {"ca.crt": "%"}}, "ConfigMap ml/corp"),
    ],
)
def test_certificates_that_are_not_there_are_named(content: Any, sentence: str) -> None:
    world = World()
    if content is not None:
        world.api.put("configmaps", "corp", **content)
    error = world.fails(model(caBundle={"configMap": "corp"}))
    assert error.reason == Reason.CREDENTIALS_MISSING
    assert sentence in str(error)


def test_the_public_key_is_read_and_its_absence_is_no_permission() -> None:
    world = World()
    signed = model(signature={"publicKey": {"secret": "signers"}})
    error = world.fails(signed)
    assert "Secret ml/signers does not exist: source.signature.publicKey names it" in str(error)
    world.api.put("secrets", "signers", data=encoded(**{"publicKey.pem": "no PEM"}))
    world.now += 5
    error = world.fails(signed)
    assert "Secret ml/signers: the entry publicKey.pem is not valid as" in str(error)
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    world.api.put("secrets", "signers", data=encoded(**{"publicKey.pem": pem}))
    world.now += 5
    assert world.of(signed).public_keys == (public.public_bytes_raw(),)


def test_no_sentence_and_no_representation_holds_a_secret() -> None:
    world = World()
    world.api.put("secrets", "s3", data=keys())
    assert "s3cr3t" not in repr(world.of(BY_SECRET))

    def echo(call: Call) -> Reply:
        return Reply(403, call.body)

    with Edge(echo) as sts:
        world.api.put("serviceaccounts", "reader", **annotated(sts))
        with pytest.raises(SourceError) as caught:
            world.of(BY_ACCOUNT)
    assert "e30" not in str(caught.value)
