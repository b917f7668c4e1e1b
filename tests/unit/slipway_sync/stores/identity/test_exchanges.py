"""Each exchange of a token for credentials, against a server at the edge."""

import asyncio
import socket
import threading
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from edge import Call, Edge, Reply
from grants import bearer, sts_error, sts_keys
from local_stores import LOOPBACK, local_options
from slipway_sync.stores import SourceError, StoreOptions
from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.egress import proxy
from slipway_sync.stores.egress.proxy import EgressProxy
from slipway_sync.stores.identity import ambient, federated, token_file, token_http
from slipway_sync.stores.identity.azure import Application
from slipway_sync.stores.identity.google import Pool, of_bearer
from slipway_sync.stores.identity.token_http import Answer, TokenClient

ARN = "arn:aws:iam::123456789012:role/reader"
TOKEN = "eyJ.the-token.of-the-pod"
NOW = datetime(2040, 1, 1, tzinfo=UTC)
ASKER = TokenClient(LOOPBACK, clock=lambda: NOW)


def aws(edge: Edge, tmp_path: Path, endpoint: str = "", **options: Any) -> TemporaryCredentials:
    (tmp_path / "token").write_text(TOKEN)
    identity = federated(
        "s3://models/m",
        {"role-arn": ARN, "sts-endpoint": endpoint or edge.url},
        token_file(tmp_path / "token"),
        local_options(**options),
    )
    return asyncio.run(identity.granted())


def expected(edge: Edge, tmp_path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        aws(edge, tmp_path)
    assert TOKEN not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    return caught.value


def test_a_token_becomes_keys(tmp_path: Path) -> None:
    with Edge(lambda _: sts_keys(until=NOW)) as edge:
        granted = aws(edge, tmp_path)
    assert granted.expires == NOW
    assert granted.values == {
        "AWS_ACCESS_KEY_ID": "ASIAKEY",
        "AWS_SECRET_ACCESS_KEY": "secret/of+ASIAKEY",
        "AWS_SESSION_TOKEN": "session/of+ASIAKEY==",
    }
    [call] = edge.calls
    assert (call.method, call.path) == ("POST", "/")
    assert call.form == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ARN,
        "RoleSessionName": "slipway",
        "WebIdentityToken": TOKEN,
    }


@pytest.mark.parametrize(
    ("reply", "reason", "words"),
    [
        (sts_error(403, "AccessDenied"), "AccessDenied", "refused (403 AccessDenied): check that"),
        (sts_error(400, "InvalidIdentityToken"), "AccessDenied", "(400 InvalidIdentityToken)"),
        (sts_error(503, "ServiceUnavailable"), "Unavailable", "503 ServiceUnavailable"),
        (sts_error(429, "Throttling"), "Unavailable", "429 Throttling"),
        (Reply(200, b"<html>s3cr3t"), "InvalidSource", "(200) contains no credentials"),
        (Reply(400, b'{"error": "two s3cr3t words"}'), "AccessDenied", "refused (400): "),
        (Reply(307, headers={"Location": "http://127.0.0.1:1/s3cr3t"}), "InvalidSource", "(307)"),
        (Reply(200, b"x" * 300_000), "InvalidSource", "sends more than credentials"),
        (Reply(400, b"[" * 200_000), "AccessDenied", "refused (400): "),
    ],
)
def test_what_goes_wrong_is_one_sentence_without_the_body(
    tmp_path: Path, reply: Reply, reason: str, words: str
) -> None:
    with Edge(lambda _: reply) as edge:
        error = expected(edge, tmp_path)
    assert error.reason == reason
    assert words in str(error)
    assert len(edge.calls) == 1


def test_an_answer_that_trickles_ends_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_http, "_SECONDS", 0.3)
    hold = threading.Event()
    with Edge(lambda _: Reply(200, b"xx", hold=hold)) as edge:
        error = expected(edge, tmp_path)
        hold.set()
    assert (error.reason, "does not answer in time" in str(error)) == ("Unavailable", True)


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:a9fe:a9fe]", "0xa9fea9fe"])
def test_a_token_is_not_sent_to_a_metadata_address(tmp_path: Path, host: str) -> None:
    with (
        Edge(lambda _: Reply()) as edge,
        pytest.raises(SourceError, match=r"value sources\.allowedNetworks") as caught,
    ):
        aws(edge, tmp_path, endpoint=f"http://{host}")
    assert caught.value.reason == "InvalidSource"


def test_nobody_at_the_address_is_said(tmp_path: Path) -> None:
    with Edge(lambda _: Reply()) as edge:
        endpoint = edge.url
    with pytest.raises(SourceError, match="refuses connections") as caught:
        aws(edge, tmp_path, endpoint=endpoint)
    assert caught.value.reason == "Unavailable"


def test_the_environments_proxy_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Edge(lambda _: sts_keys()) as edge:
        assert aws(edge, tmp_path).values["AWS_ACCESS_KEY_ID"] == "ASIAKEY"


def test_the_sources_proxy_is_used_and_not_for_the_machines_metadata(tmp_path: Path) -> None:
    with Edge(lambda _: Reply()) as gone:
        nobody = gone.url
    with Edge(lambda _: sts_keys()) as edge:
        with pytest.raises(SourceError, match="proxy"):
            aws(edge, tmp_path, proxy=nobody)
        assert edge.calls == []
        assert aws(edge, tmp_path, proxy=nobody, no_proxy=("127.0.0.1",)).values
    with Edge(instance) as edge:
        given = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": edge.url}
        assert surrounded(given, proxy=nobody).values["AWS_ACCESS_KEY_ID"] == "ASIANODE"


def test_the_token_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    read = token_file(path)
    with pytest.raises(SourceError, match="cannot be read"):
        asyncio.run(read())
    path.write_text("one\n")
    assert asyncio.run(read()) == "one"
    # As the kubelet does it: another file takes the place.
    (tmp_path / "next").write_text("two")
    (tmp_path / "next").replace(path)
    assert asyncio.run(read()) == "two"


GOOGLE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
EMAIL = "reader@project.iam.gserviceaccount.com"


def google_answer(call: Call) -> Reply:
    if call.path == "/v1/token":
        return bearer("federated", 1800)
    return Reply.document({"accessToken": "impersonated", "expireTime": "2040-01-01T00:00:00Z"})


def test_google_federates_and_impersonates() -> None:
    with Edge(google_answer) as edge:
        granted = asyncio.run(Pool(GOOGLE, EMAIL, edge.url, edge.url).enter(ASKER, TOKEN))
    assert granted == TemporaryCredentials({"GOOGLE_BEARER_TOKEN": "impersonated"}, NOW)
    first, second = edge.calls
    assert first.document == {
        "audience": GOOGLE,
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "subjectToken": TOKEN,
        "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
    }
    assert second.path == f"/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
    assert second.headers["authorization"] == "Bearer federated"
    assert second.document == {"scope": ["https://www.googleapis.com/auth/devstorage.read_write"]}


def test_google_without_a_service_account_reads_as_the_federated_identity() -> None:
    with Edge(google_answer) as edge:
        granted = asyncio.run(Pool(GOOGLE, "", edge.url, edge.url).enter(ASKER, TOKEN))
    assert granted == TemporaryCredentials(
        {"GOOGLE_BEARER_TOKEN": "federated"}, NOW + timedelta(minutes=30)
    )
    [call] = edge.calls
    assert call.document["scope"] == "https://www.googleapis.com/auth/devstorage.read_write"


def test_google_that_may_not_impersonate_says_what_to_grant() -> None:
    def answer(call: Call) -> Reply:
        denied = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "s3cr3t"}}
        return bearer("federated") if call.path == "/v1/token" else Reply.document(denied, 403)

    with Edge(answer) as edge, pytest.raises(SourceError) as caught:
        asyncio.run(Pool(GOOGLE, EMAIL, edge.url, edge.url).enter(ASKER, TOKEN))
    assert str(caught.value) == (
        f"the service account {EMAIL}: refused (403 PERMISSION_DENIED): grant the ServiceAccount "
        "roles/iam.workloadIdentityUser on it"
    )


def test_azure_takes_the_token_as_an_assertion() -> None:
    with Edge(lambda _: bearer("azure", "3599")) as edge:
        login = Application("client", "tenant", edge.url)
        granted = asyncio.run(login.log_in(ASKER, TOKEN))
    assert granted == TemporaryCredentials(
        {"AZURE_BEARER_TOKEN": "azure"}, NOW + timedelta(seconds=3599)
    )
    [call] = edge.calls
    assert call.path == "/tenant/oauth2/v2.0/token"
    assert call.form == {
        "client_id": "client",
        "client_assertion": TOKEN,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "grant_type": "client_credentials",
        "scope": "https://storage.azure.com/.default",
    }


def test_azure_that_refuses_gives_its_word_and_no_description() -> None:
    denied = {"error": "invalid_client", "error_description": "AADSTS700213: s3cr3t"}
    with Edge(lambda _: Reply.document(denied, 401)) as edge, pytest.raises(SourceError) as caught:
        asyncio.run(Application("client", "tenant", edge.url).log_in(ASKER, TOKEN))
    assert "refused (401 invalid_client)" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def surrounded(
    environment: Mapping[str, str], uri: str = "s3://models/m", **options: Any
) -> TemporaryCredentials:
    return asyncio.run(ambient(uri, environment, StoreOptions(**options)).granted())


def instance(call: Call) -> Reply:
    """Version 2 of AWS's instance metadata service."""
    roles = "/latest/meta-data/iam/security-credentials/"
    if (call.method, call.path) == ("PUT", "/latest/api/token"):
        assert call.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
        return Reply(200, b"session")
    if call.headers.get("x-aws-ec2-metadata-token") != "session":
        return Reply(401)
    if call.path == roles:
        return Reply(200, b"node-role")
    assert call.path == f"{roles}node-role"
    return KEYS


KEYS = Reply.document(
    {
        "Code": "Success",
        "AccessKeyId": "ASIANODE",
        "SecretAccessKey": "secret",
        "Token": "session",
        "Expiration": "2040-01-01T00:00:00Z",
    }
)


def test_the_instances_role_is_asked_for_in_version_2() -> None:
    with Edge(instance) as edge:
        granted = surrounded({"AWS_EC2_METADATA_SERVICE_ENDPOINT": edge.url})
    assert granted.values["AWS_ACCESS_KEY_ID"] == "ASIANODE"
    assert granted.values["AWS_SESSION_TOKEN"] == "session"
    assert granted.expires == NOW


def test_the_containers_endpoint_gets_its_authorization_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "authorization").write_text("pod-token")
    with Edge(lambda _: KEYS) as edge:
        granted = surrounded(
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{edge.url}/v1/credentials",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "authorization"),
            }
        )
    assert granted.values["AWS_ACCESS_KEY_ID"] == "ASIANODE"
    assert edge.calls[0].headers["authorization"] == "pod-token"


def test_the_webhooks_variables_lead_to_the_token_service_and_never_to_the_models_endpoint(
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with Edge(lambda _: sts_keys()) as sts, Edge(lambda _: sts_keys("EVIL")) as endpoint:
        granted = surrounded(
            {
                "AWS_ROLE_ARN": ARN,
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
                "AWS_ENDPOINT_URL_STS": sts.url,
            },
            endpoint=endpoint.url,
            addresses=LOOPBACK,
        )
    assert granted.values["AWS_ACCESS_KEY_ID"] == "ASIAKEY"
    assert endpoint.calls == []


def test_keys_of_the_environment_do_not_end() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    assert surrounded(keys) == TemporaryCredentials(keys, None)


def test_googles_metadata_server_wants_its_header() -> None:
    def answer(call: Call) -> Reply:
        assert call.path == "/computeMetadata/v1/instance/service-accounts/default/token"
        return bearer("node") if call.headers.get("metadata-flavor") == "Google" else Reply(403)

    with Edge(answer) as edge:
        granted = surrounded({"GCE_METADATA_HOST": edge.host}, "gs://models/m")
    assert granted.values == {"GOOGLE_BEARER_TOKEN": "node"}


def test_the_webhooks_variables_of_azure_lead_to_its_authority(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    environment = {
        "AZURE_CLIENT_ID": "client",
        "AZURE_TENANT_ID": "tenant",
        "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token"),
    }
    with Edge(lambda _: bearer("azure")) as edge:
        environment["AZURE_AUTHORITY_HOST"] = edge.url
        granted = surrounded(environment, "az://models/m", addresses=LOOPBACK)
    assert granted.values == {"AZURE_BEARER_TOKEN": "azure"}
    assert edge.calls[0].form["client_assertion"] == TOKEN


@pytest.mark.parametrize(
    ("uri", "endpoint"),
    [
        ("gs://models/m", "https://storage.example.com"),
        ("gs://models/m", "http://storage.googleapis.com"),
        ("gs://models/m", "https://storage.googleapis.com.example.com"),
        ("az://models/m", "https://account.blob.example.com"),
        ("az://models/m", "http://account.blob.core.windows.net"),
    ],
)
def test_a_bearer_token_goes_to_no_strangers_endpoint(uri: str, endpoint: str) -> None:
    async def token() -> str:
        return TOKEN

    options = StoreOptions(endpoint=endpoint)
    with pytest.raises(SourceError, match="is sent nowhere else"):
        ambient(uri, {}, options)
    settings = {"audience": GOOGLE, "client-id": "c", "tenant-id": "t"}
    with pytest.raises(SourceError, match="is sent nowhere else"):
        federated(uri, settings, token, options)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("s3://models/m", "/latest/api/token"),
        ("gs://models/m", "/computeMetadata/v1/instance/service-accounts/default/token"),
        ("az://models/m", "/metadata/identity/oauth2/token"),
    ],
)
def test_the_metadata_address_is_open_to_the_request_for_credentials_alone(
    monkeypatch: pytest.MonkeyPatch, uri: str, path: str
) -> None:
    """The gate's judgement is the real one; what answers behind it is a server of this test."""
    metadata = ip_address("169.254.169.254")
    with Edge(lambda _: Reply(418)) as edge, closing(EgressProxy(lambda *_: (metadata,))) as opened:
        monkeypatch.setattr(token_http, "shared", lambda: opened)
        behind = ("127.0.0.1", edge.port)
        monkeypatch.setattr(proxy, "_first_connected", lambda *_: socket.create_connection(behind))
        with pytest.raises(SourceError, match=r"refused \(418\)"):
            surrounded({}, uri)
        assert [call.path for call in edge.calls] == [path]
        with pytest.raises(SourceError, match=r"metadata service|link-local") as caught:
            asyncio.run(ASKER.ask("a source", "GET", "http://169.254.169.254/"))
        assert caught.value.reason == "InvalidSource"
        assert len(edge.calls) == 1


def test_a_private_authority_is_trusted_with_its_bundle_only(tmp_path: Path) -> None:
    authority = Authority()
    with Edge(lambda _: sts_keys(), tls=authority.issue()) as edge:
        assert aws(edge, tmp_path, ca_bundle=authority.pem).values["AWS_ACCESS_KEY_ID"] == "ASIAKEY"
        commented = "# NetLock Arany Főtanúsítvány\n".encode() + authority.pem
        assert aws(edge, tmp_path, ca_bundle=commented).values["AWS_ACCESS_KEY_ID"] == "ASIAKEY"
        error = expected(edge, tmp_path)
    assert "unknown CA: add that CA to caBundle" in str(error)
    with pytest.raises(SourceError, match="contains no certificate"):
        aws(edge, tmp_path, ca_bundle=b"-----BEGIN NOTHING")


def test_a_life_without_end_is_no_life_that_is_known() -> None:
    answer = Answer(200, b'{"access_token": "t", "expires_in": 1e999}')
    assert of_bearer("the pool", answer, "check it", NOW) == TemporaryCredentials(
        {"GOOGLE_BEARER_TOKEN": "t"}, None
    )
