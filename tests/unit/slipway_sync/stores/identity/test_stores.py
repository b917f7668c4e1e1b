"""A store's requests carry what an identity grants, and nothing else signs them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from edge import Call, Edge, Reply
from local_stores import local_options
from slipway_sync.stores import SourceError, open_store
from slipway_sync.stores.credentials import TemporaryCredentials

KEYS = {
    "AWS_ACCESS_KEY_ID": "ASIAKEY",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "session",
    "GOOGLE_BEARER_TOKEN": "google",
    "AZURE_BEARER_TOKEN": "azure",
}


class Person:
    """An identity that grants what it is told to."""

    def __init__(self, seconds: float = 3600, failure: SourceError | None = None) -> None:
        self.failure = failure
        self._seconds = seconds

    async def granted(self) -> TemporaryCredentials:
        if self.failure is not None:
            raise self.failure
        return TemporaryCredentials(KEYS, datetime.now(UTC) + timedelta(seconds=self._seconds))

    def refuse(self) -> bool:
        return False


def empty(call: Call) -> Reply:
    """A listing without objects, in each store's language."""
    if "comp" in call.query:
        return Reply(
            body=b'<?xml version="1.0"?><EnumerationResults><Blobs></Blobs></EnumerationResults>'
        )
    return Reply(body=b"<ListBucketResult><Name>models</Name></ListBucketResult>")


@pytest.mark.parametrize(
    ("scheme", "path", "headers"),
    [
        ("s3", "", {"x-amz-security-token": "session"}),
        ("gs", "", {"authorization": "Bearer google"}),
        ("az", "/devstoreaccount1", {"authorization": "Bearer azure"}),
    ],
)
def test_requests_carry_what_was_granted(scheme: str, path: str, headers: dict[str, str]) -> None:
    with Edge(empty) as edge:
        options = local_options(endpoint=f"{edge.url}{path}", identity=Person())
        assert asyncio.run(open_store(f"{scheme}://models/m", options).children()) == ()
    assert headers.items() <= edge.calls[0].headers.items()
    if scheme == "s3":
        assert "Credential=ASIAKEY/" in edge.calls[0].headers["authorization"]


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("reason", ["AccessDenied", "Unavailable"])
def test_who_is_granted_nothing_asks_nothing_and_says_why(scheme: str, reason: str) -> None:
    failure = SourceError(reason, "the pool is closed")  # type: ignore[arg-type]
    with Edge(empty) as edge:
        options = local_options(
            endpoint=f"{edge.url}{'/devstoreaccount1' if scheme == 'az' else ''}",
            identity=Person(failure=failure),
        )
        with pytest.raises(SourceError) as caught:
            asyncio.run(open_store(f"{scheme}://models/m", options).children())
    assert caught.value.reason == reason
    assert str(caught.value) == f"{scheme}://models/m: the pool is closed"
    assert edge.calls == []
