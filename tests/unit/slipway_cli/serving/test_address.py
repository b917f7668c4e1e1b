"""Addresses of servers and models, as people write them."""

import pytest

from slipway_cli.errors import UsageError
from slipway_cli.serving.address import model_address, model_at, server_address


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("localhost:8501", "http://localhost:8501"),
        ("http://digits", "http://digits:80"),
        ("https://digits.example/slipway/", "https://digits.example:443/slipway"),
        ("grpc://digits", "grpc://digits:8500"),
        ("grpcs://[::1]:9000", "grpcs://[::1]:9000"),
    ],
)
def test_a_server(text: str, means: str) -> None:
    assert str(server_address(text)) == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gprc://x:1", "did you mean grpc://"),
        ("htp://x", "did you mean http://"),
        ("zzz://x", "write http://HOST:PORT"),
        ("http://x:99999", "a number from 1 to 65535"),
        ("http://x:0", "a number from 1 to 65535"),
        ("http://x:port", "a number from 1 to 65535"),
        ("http://", "write SCHEME://HOST:PORT"),
        ("http://user:secret@x:1", "without a user name"),
        ("grpc://x:1/path", "nothing may follow"),
        ("http://x:1/?a=b", "nothing may follow"),
        ("", "write SCHEME://HOST:PORT"),
    ],
)
def test_an_address_that_is_none_is_told_what_to_write(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("?", r"\?")):
        server_address(text)


def test_a_model() -> None:
    found = model_address("http://h:1/p/v1/models/a%20b/versions/3:predict")
    assert found is not None
    assert (str(found.server), found.name, found.version) == ("http://h:1/p", "a b", 3)
    assert found.rest_path == "/p/v1/models/a%20b/versions/3"
    labelled = model_address("grpc://h:1/v1/models/m/labels/stable")
    assert labelled is not None
    assert (labelled.label, labelled.version) == ("stable", None)
    assert model_address("https://bucket.example/models/m/3") is None
    assert model_address("s3://b/v1/models/m") is None


def test_a_name_cannot_lead_to_another_path() -> None:
    assert model_at("h:1", "../x", None, "").rest_path == "/v1/models/..%2Fx"
    with pytest.raises(UsageError, match="give one of them"):
        model_at("h:1", "m", 1, "stable")
    with pytest.raises(UsageError, match="names a model"):
        model_at("http://h:1/v1/models/m", "m", None, "")
    with pytest.raises(UsageError, match="larger than any version"):
        model_address("http://h:1/v1/models/m/versions/9223372036854775808")
