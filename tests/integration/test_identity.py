"""Identities against a real API server and a real token service that believes it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cloud_iam import AUDIENCE, ROLE, CloudIam
from local_stores import ALLOW, local_options
from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.fetch.credentials import CredentialSource, IdentityKind, opened
from slipway_sync.agent.fetch.fetch import FetchRequest, Runtime, fetch
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.exports import ExitCode, revision
from slipway_sync.stores import SourceError, Store
from slipway_sync.stores.identity import refresh
from small_exports import contents
from world import BUCKET, Bucket, Kube


class Cluster:
    """A namespace with two ServiceAccounts, and a cloud that trusts one of them."""

    def __init__(self, kube: Kube, cloud: CloudIam, namespace: str, directory: Path) -> None:
        self.cloud = cloud
        self._kube = kube
        self._namespace = namespace
        self._token = directory / "token"

    def mount(self, account: str = "reader", audience: str = AUDIENCE) -> Path:
        """Write a token where the kubelet would."""
        spec = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
        made = self._kube.core.create_namespaced_service_account_token(
            account, self._namespace, spec
        )
        self._token.write_text(made.status.token)
        return self._token

    def open(self, token: Path) -> Store:
        settings = [f"role-arn={ROLE}", f"sts-endpoint={self.cloud.sts.url}"]
        credential_source = CredentialSource(None, IdentityKind.SERVICE_ACCOUNT, token, settings)
        return opened(
            f"s3://{BUCKET}/m", local_options(endpoint=self.cloud.endpoint), credential_source, {}
        )


@pytest.fixture(scope="module")
def trusted(kube: Kube) -> Iterator[tuple[CloudIam, str]]:
    namespace = kube.namespace()
    for name in ("reader", "other"):
        kube.core.create_namespaced_service_account(namespace, {"metadata": {"name": name}})
    subject = f"system:serviceaccount:{namespace}:reader"
    # Sockets have short names.
    with (
        TemporaryDirectory(prefix="iam") as directory,
        CloudIam(Path(directory), kube.api, subject) as cloud,
    ):
        cloud.client().make_bucket(BUCKET)
        Bucket(cloud.client()).upload("m/1", contents())
        yield cloud, namespace


@pytest.fixture
def cluster(kube: Kube, trusted: tuple[CloudIam, str], tmp_path: Path) -> Cluster:
    return Cluster(kube, *trusted, tmp_path)


def test_the_trusted_account_reads(cluster: Cluster) -> None:
    assert asyncio.run(cluster.open(cluster.mount()).children()) == ("1",)


@pytest.mark.parametrize(
    ("account", "audience", "code"),
    [
        ("other", AUDIENCE, "400 InvalidIdentityToken"),
        ("reader", "elsewhere", "400 InvalidIdentityToken"),
    ],
)
def test_another_account_and_another_audience_read_nothing(
    cluster: Cluster, account: str, audience: str, code: str
) -> None:
    with pytest.raises(SourceError) as caught:
        asyncio.run(cluster.open(cluster.mount(account, audience)).children())
    assert caught.value.reason == "AccessDenied"
    assert f"refused ({code}): check that its trust policy names" in str(caught.value)


async def _no_sleep(_: float) -> None:
    pass


def synced(store: Store, destination: Path, planned: str, ends: CloudIam | None) -> None:
    """Sync version 1; where `ends` is given, its sessions end at the first bytes that arrive."""

    def report(_: dict[str, int]) -> None:
        nonlocal ends
        if ends is not None:
            ends.end_sessions()
            ends = None

    runtime = Runtime(report, _Clock(), RetryPolicy(_no_sleep, lambda: 0.5))
    request = FetchRequest("1", 1, planned, destination, concurrency=1)
    asyncio.run(fetch(request, store, runtime))


class _Clock:
    """Each look at it is ten seconds later, so that every step is reported."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 10
        return self._now


def test_keys_that_end_in_mid_sync_are_replaced(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "_YOUNG", refresh._YOUNG * 0)
    token = cluster.mount()
    planned = revision(asyncio.run(cluster.open(token).listing("1")))
    before = len(cluster.cloud.sts.calls)
    synced(cluster.open(token), tmp_path / "models", planned, cluster.cloud)
    assert (tmp_path / "models" / "1" / "saved_model.pb").is_file()
    assert len(cluster.cloud.sts.calls) == before + 2


def test_keys_that_end_and_cannot_be_replaced_end_the_sync_with_a_reason(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "_YOUNG", refresh._YOUNG * 0)
    token = cluster.mount()
    planned = revision(asyncio.run(cluster.open(token).listing("1")))
    store = cluster.open(token)
    asyncio.run(store.children())
    cluster.mount("other")
    with pytest.raises(SyncError) as caught:
        synced(store, tmp_path / "models", planned, cluster.cloud)
    assert caught.value.code is ExitCode.ACCESS_DENIED
    assert not (tmp_path / "models" / "1").exists()


@pytest.mark.parametrize("identity", ["Ambient", ""])
def test_the_agent_uses_its_surroundings_only_when_it_is_told_to(
    cluster: Cluster, tmp_path: Path, identity: str
) -> None:
    """The variables are those that the webhook of EKS sets."""
    token = cluster.mount()
    planned = revision(asyncio.run(cluster.open(token).listing("1")))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "slipway_sync.agent", "fetch", "--directory=1", "--version=1"),
            *(f"--source=s3://{BUCKET}/m", f"--endpoint={cluster.cloud.endpoint}"),
            *(f"--revision={planned}", f"--destination={tmp_path / 'models'}"),
            f"--identity={identity}",
            ALLOW,
        ],
        env=os.environ
        | {
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ENDPOINT_URL_STS": cluster.cloud.sts.url,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    expected = ExitCode.SYNCED if identity else ExitCode.ACCESS_DENIED
    assert done.returncode == expected, done.stdout + done.stderr
