"""Credentials that end or are replaced while a sync runs."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge import Call, Edge, Reply
from fake_s3 import Asked, FakeS3, Fault
from grants import sts_keys
from local_stores import local_options
from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.fetch import transfer
from slipway_sync.agent.fetch.credentials import CredentialSource, IdentityKind, opened
from slipway_sync.agent.fetch.fetch import FetchRequest, Runtime, fetch
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.exports import ExitCode, SyncOutcome, revision
from slipway_sync.stores import open_store
from slipway_sync.stores.identity import refresh
from small_exports import contents

ARN = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small export takes many requests."""
    monkeypatch.setattr(transfer, "PART", 300)


def key_of(asked: Asked) -> str:
    """The access key that signed a request, in a header or in its URL."""
    if "X-Amz-Credential" in asked.query:
        return asked.query["X-Amz-Credential"][0].partition("/")[0]
    return asked.headers["authorization"].partition("Credential=")[2].partition("/")[0]


@dataclass
class Rotating:
    """A bucket that takes one key at a time; after some requests for objects it wants another.

    Attributes:
        keys: The keys in their order.
        each: Requests that each key is good for, but the last.
    """

    keys: list[str]
    each: int
    code: str = "ExpiredToken"
    status: int = 400

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._left = self.each
        self.turned: Callable[[str], None] = lambda _: None

    def __call__(self, asked: Asked) -> Fault | None:
        with self._lock:
            if key_of(asked) != self.keys[0]:
                return Fault(self.status, self.code)
            self._left -= 1
            if self._left == 0 and len(self.keys) > 1:
                self.keys.pop(0)
                self._left = self.each
                self.turned(self.keys[0])
                return Fault(self.status, self.code)
        return None


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with FakeS3({f"m/1/{path}": content for path, content in contents().items()}) as server:
        yield server


def planned(s3: FakeS3) -> str:
    store = open_store("s3://models/m", local_options(endpoint=s3.endpoint))
    return revision(asyncio.run(store.listing("1")))


async def _no_sleep(_: float) -> None:
    pass


def synced(
    s3: FakeS3, destination: Path, credential_source: CredentialSource, planned: str
) -> SyncOutcome:
    request = FetchRequest("1", 1, planned, destination, concurrency=2)
    runtime = Runtime(lambda _: None, lambda: 0.0, RetryPolicy(_no_sleep, lambda: 0.5))

    async def run() -> SyncOutcome:
        store = opened("s3://models/m", local_options(endpoint=s3.endpoint), credential_source, {})
        return await fetch(request, store, runtime)

    return asyncio.run(run())


def secret(directory: Path, key: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "AWS_ACCESS_KEY_ID").write_text(key)
    (directory / "AWS_SECRET_ACCESS_KEY").write_text("secret")
    (directory / "AWS_SESSION_TOKEN").write_text(f"session-{key}")


@pytest.mark.parametrize(
    ("status", "code"), [(400, "ExpiredToken"), (403, "AccessDenied"), (403, "InvalidAccessKeyId")]
)
def test_a_secret_that_is_replaced_under_a_running_sync_is_used(
    s3: FakeS3, tmp_path: Path, status: int, code: str
) -> None:
    version = planned(s3)
    secret(tmp_path / "secret", "KEY1")
    s3.fault = rotating = Rotating(["KEY1", "KEY2", "KEY3"], 6, code, status)
    rotating.turned = lambda key: secret(tmp_path / "secret", key)
    outcome = synced(s3, tmp_path / "models", CredentialSource(secret=tmp_path / "secret"), version)
    assert outcome.reason == "Synced"
    assert rotating.keys == ["KEY3"]
    assert {"KEY1", "KEY2", "KEY3"} == {key_of(asked) for asked in s3.asked[2:]}


def test_a_secret_that_stays_as_it_is_is_tried_once(s3: FakeS3, tmp_path: Path) -> None:
    version = planned(s3)
    secret(tmp_path / "secret", "KEY1")
    before = len(s3.asked)
    s3.fault = lambda _: Fault(403, "ExpiredToken")
    with pytest.raises(SyncError) as caught:
        synced(s3, tmp_path / "models", CredentialSource(secret=tmp_path / "secret"), version)
    assert caught.value.code is ExitCode.ACCESS_DENIED
    assert "ExpiredToken" in str(caught.value)
    assert len(s3.asked) == before + 1


def test_an_identity_is_granted_anew_in_mid_sync_with_the_token_of_then(
    s3: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys live an hour, but the store ends them early; the kubelet has rotated the token."""
    monkeypatch.setattr(refresh, "_YOUNG", refresh._YOUNG * 0)
    version = planned(s3)
    token = tmp_path / "token"
    token.write_text("KEY1")
    s3.fault = rotating = Rotating(["KEY1", "KEY2", "KEY3"], 6)
    rotating.turned = token.write_text  # type: ignore[assignment]
    with Edge(lambda call: sts_keys(call.form["WebIdentityToken"])) as sts:
        settings = [f"role-arn={ARN}", f"sts-endpoint={sts.url}"]
        credential_source = CredentialSource(None, IdentityKind.SERVICE_ACCOUNT, token, settings)
        outcome = synced(s3, tmp_path / "models", credential_source, version)
    assert outcome.reason == "Synced"
    assert rotating.keys == ["KEY3"]
    assert [call.form["WebIdentityToken"] for call in sts.calls] == ["KEY1", "KEY2", "KEY3"]


def test_keys_of_a_short_life_are_renewed_before_the_store_minds(
    s3: FakeS3, tmp_path: Path
) -> None:
    """No request is refused: each signed with keys that lived when it was sent."""
    version = planned(s3)
    before = len(s3.asked)
    (tmp_path / "token").write_text("token")
    numbers = iter(range(1, 1000))
    never = threading.Event()

    def grant(_: Call) -> Reply:
        return sts_keys(f"KEY{next(numbers)}", until=datetime.now(UTC) + timedelta(seconds=1))

    def slowly(asked: Asked) -> Fault | None:
        # In a row these take longer than a pair of keys lives.
        if "saved_model.pb" in asked.key:
            never.wait(0.6)
        return None

    s3.fault = slowly
    with Edge(grant) as sts:
        settings = [f"role-arn={ARN}", f"sts-endpoint={sts.url}"]
        credential_source = CredentialSource(
            None, IdentityKind.SERVICE_ACCOUNT, tmp_path / "token", settings
        )
        outcome = synced(s3, tmp_path / "models", credential_source, version)
    assert outcome.reason == "Synced"
    assert len({key_of(asked) for asked in s3.asked[before:]}) > 1


def test_a_token_service_that_refuses_is_the_syncs_end_with_its_sentence(
    s3: FakeS3, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("the-token")
    with Edge(lambda _: Reply(403, b"<Code>AccessDenied</Code>")) as sts:
        settings = [f"role-arn={ARN}", f"sts-endpoint={sts.url}"]
        credential_source = CredentialSource(
            None, IdentityKind.SERVICE_ACCOUNT, tmp_path / "token", settings
        )
        with pytest.raises(SyncError) as caught:
            synced(s3, tmp_path / "models", credential_source, "0" * 64)
    assert caught.value.code is ExitCode.ACCESS_DENIED
    assert f"the role {ARN} at 127.0.0.1: refused (403 AccessDenied): check" in str(caught.value)
    assert "the-token" not in str(caught.value)
    assert s3.asked == []
