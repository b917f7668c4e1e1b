"""Where the credentials of a Secret may be sent: what its owner says, against every spelling of a Model's author."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from slipway_operator.api.conditions import Reason
from slipway_operator.api.source import Source
from slipway_operator.reconcile.sources.errors import CredentialsError
from slipway_operator.reconcile.sources.secret_hosts import check_hosts

WEB = "https://models.example.com/digits"
S3 = "s3://models/digits"


def check(hosts: str | None, source: Mapping[str, Any], data: Mapping[str, str]) -> None:
    annotations = {} if hosts is None else {"annotations": {"slipway.dev/hosts": hosts}}
    secret = {"metadata": {"name": "keys", "namespace": "ml"} | annotations, "data": data}
    check_hosts(secret, "ml/keys", Source.model_construct(**source))


ACCOUNT = {"AZURE_STORAGE_ACCOUNT_NAME": base64.b64encode(b"corpmodels").decode()}


@pytest.mark.parametrize(
    ("hosts", "source"),
    [
        (None, {"uri": "https://anywhere.example.net/m"}),
        ("models.example.com", {"uri": WEB}),
        ("other.example.com, models.example.com", {"uri": WEB}),
        ("MODELS.example.com", {"uri": "https://Models.Example.COM/digits"}),
        ("models.example.com", {"uri": "https://models.example.com./digits"}),
        ("*.example.com", {"uri": WEB}),
        ("*.example.com", {"uri": "https://a.b.example.com/digits"}),
        ("models.example.com:443", {"uri": WEB}),
        ("models.example.com:80", {"uri": "http://models.example.com/digits"}),
        ("models.example.com", {"uri": "https://models.example.com:8443/digits"}),
        ("minio.ml.svc:9000", {"uri": S3, "endpoint": "http://minio.ml.svc:9000"}),
        ("[fd00::1]:9000", {"uri": S3, "endpoint": "http://[fd00::1]:9000"}),
        ("10.0.0.7", {"uri": S3, "endpoint": "http://10.0.0.7:9000"}),
        ("s3.eu-west-1.amazonaws.com", {"uri": S3, "region": "eu-west-1"}),
        ("*.amazonaws.com", {"uri": S3}),
        ("storage.googleapis.com", {"uri": "gs://models/digits"}),
        ("*.blob.core.windows.net", {"uri": "az://models/digits"}),
        ("corpmodels.blob.core.windows.net", {"uri": "az://models/digits"}),
        ("models.example.com,proxy.corp", {"uri": WEB, "proxy": "http://proxy.corp:3128"}),
    ],
)
def test_a_secret_goes_where_its_owner_lets_it(hosts: str | None, source: dict[str, str]) -> None:
    check(hosts, source, ACCOUNT)


@pytest.mark.parametrize(
    ("hosts", "source", "named"),
    [
        ("models.example.com", {"uri": "https://evil.example.net/m"}, "evil.example.net"),
        ("example.com", {"uri": WEB}, "models.example.com"),
        ("*.example.com", {"uri": "https://example.com/m"}, "example.com"),
        ("*.example.com", {"uri": "https://evilexample.com/m"}, "evilexample.com"),
        ("models.example.com", {"uri": "https://models.example.com.evil.net/m"}, "evil.net"),
        ("models.example.com:443", {"uri": "https://models.example.com:8443/m"}, ":8443"),
        ("models.example.com:443", {"uri": "http://models.example.com/m"}, ":80"),
        ("models.example.com", {"uri": "https://models.example.com@evil.net/m"}, "evil.net"),
        ("models.example.com", {"uri": "https://evil.net\\@models.example.com/m"}, "evil.net"),
        ("models.example.com", {"uri": "https://evil.net\\.models.example.com/m"}, "evil.net"),
        ("*.example.com", {"uri": "https://evil.net%2f.example.com/m"}, "evil.net"),
        ("minio.ml.svc", {"uri": S3, "endpoint": "https://evil.net"}, "evil.net"),
        ("minio.ml.svc", {"uri": S3}, "s3.amazonaws.com"),
        ("models.example.com", {"uri": WEB, "proxy": "http://evil.net:3128"}, "evil.net:3128"),
        ("other.blob.core.windows.net", {"uri": "az://models/digits"}, "corpmodels"),
        ("", {"uri": WEB}, "models.example.com"),
        ("*", {"uri": WEB}, "models.example.com"),
        ("models.example.com:x", {"uri": WEB}, "models.example.com"),
        ("m*.example.com", {"uri": WEB}, "models.example.com"),
    ],
)
def test_it_goes_nowhere_else(hosts: str, source: dict[str, str], named: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        check(hosts, source, ACCOUNT)
    assert caught.value.reason is Reason.HOST_NOT_ALLOWED
    sentence = str(caught.value)
    assert named in sentence
    assert "Secret ml/keys" in sentence
    assert "slipway.dev/hosts" in sentence
