"""TLS with an authority of one's own, for static servers and S3: real servers, real certificates."""

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority, server_context
from cluster.s3 import S3Server, Tls
from local_stores import ALLOW, local_options
from proxies import BEHIND
from slipway_sync.exports import ExitCode, revision
from slipway_sync.stores import Patience, SourceError, Store, open_store
from small_exports import contents, tree
from static_server import StaticServer, indexed
from world import BUCKET

QUICK = Patience(retries=0, pause=0.001)
AUTHORITY = Authority()


@dataclass(frozen=True)
class Source:
    """A store that speaks TLS, and the word in its sentences for where it lies."""

    uri: str
    options: dict[str, Any]

    def store(self, ca_bundle: bytes | None = AUTHORITY.pem) -> Store:
        return open_store(
            self.uri, local_options(ca_bundle=ca_bundle, patience=QUICK, **self.options)
        )


@contextmanager
def served(
    scheme: str, directory: Path, names: Sequence[str] = (), hours: int = 2
) -> Iterator[Source]:
    pair = AUTHORITY.issue(names=names, hours=hours)
    files = {f"1/{name}": data for name, data in contents().items()}
    if scheme == "https":
        with StaticServer(indexed(files), tls=server_context(pair, directory)) as server:
            yield Source(f"{server.url}/m", {})
        return
    paths = Tls(directory / "crt", directory / "key", directory / "ca")
    for path, content in zip(
        (paths.certificate, paths.key, paths.authority),
        (pair.certificate, pair.key, AUTHORITY.pem),
        strict=True,
    ):
        path.write_bytes(content)
    with S3Server.start(directory, tls=paths) as server:
        if not names and hours > 0:  # Its own client believes no other certificate, either.
            server.create_bucket(BUCKET)
            for name, data in files.items():
                server.client().put_object(BUCKET, f"m/{name}", io.BytesIO(data), len(data))
        keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        yield Source(f"s3://{BUCKET}/m", {"endpoint": server.endpoint, "credentials": keys})


@pytest.fixture(scope="module", params=["https", "s3"])
def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Source]:
    with served(request.param, tmp_path_factory.mktemp(request.param)) as it:
        yield it


def said(store: Store) -> str:
    with pytest.raises(SourceError) as caught:
        asyncio.run(store.children())
    return str(caught.value)


@pytest.mark.parametrize("before", [b"", Authority("another").pem])
def test_a_private_authority_is_believed_beside_others(source: Source, before: bytes) -> None:
    store = source.store(before + AUTHORITY.pem)
    assert asyncio.run(store.children()) == ("1",)
    listing = asyncio.run(store.listing("1"))
    assert {item.path for item in listing} == set(contents())
    assert len(asyncio.run(store.read("1", "saved_model.pb"))) > 0


@pytest.mark.parametrize("bundle", [None, Authority("another").pem])
def test_an_unknown_authority_is_named_with_what_to_do(
    source: Source, bundle: bytes | None
) -> None:
    assert said(source.store(bundle)).endswith(
        ": its certificate is signed by an unknown CA: add that CA to caBundle"
    )


@pytest.mark.parametrize("scheme", ["https", "s3"])
def test_a_certificate_for_another_host_is_named_with_what_to_do(
    scheme: str, tmp_path: Path
) -> None:
    with served(scheme, tmp_path, names=[BEHIND]) as elsewhere:
        assert said(elsewhere.store()).endswith(
            ": its certificate is not valid for this host: use a host name that it lists"
        )


@pytest.mark.parametrize("scheme", ["https", "s3"])
def test_a_certificate_that_has_expired_is_named(scheme: str, tmp_path: Path) -> None:
    with served(scheme, tmp_path, hours=-1) as late:
        assert said(late.store()).endswith(
            ": its certificate has expired or is not valid yet: renew it, or check the clock"
        )


@pytest.mark.parametrize("bundle", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_bundle_without_certificates_is_refused(source: Source, bundle: bytes) -> None:
    with pytest.raises(SourceError, match="the CA bundle contains no certificate") as caught:
        source.store(bundle)
    assert caught.value.reason == "InvalidSource"


def test_a_server_without_tls_is_named(s3: S3Server) -> None:
    address = s3.endpoint.removeprefix("http://")
    for uri, endpoint in ((f"s3://{BUCKET}/m", f"https://{address}"), (f"https://{address}/m", "")):
        store = open_store(uri, local_options(endpoint=endpoint, patience=QUICK))
        assert said(store).endswith(": it does not speak TLS: write http:// or another port")


@pytest.mark.parametrize("believed", [True, False])
def test_the_agent_takes_the_bundle_as_a_file(
    source: Source, tmp_path: Path, *, believed: bool
) -> None:
    planned = revision(asyncio.run(source.store().listing("1")))
    keys = tmp_path / "keys"
    keys.mkdir()
    for name, value in source.options.get("credentials", {}).items():
        (keys / name).write_text(value)
    bundle = tmp_path / "ca.crt"
    bundle.write_bytes(AUTHORITY.pem if believed else Authority("another").pem)
    options = [f"--endpoint={source.options.get('endpoint')}", f"--credentials={keys}"]
    done = subprocess.run(
        [
            sys.executable, "-m", "slipway_sync.agent", "fetch", f"--source={source.uri}",
            "--directory=1", "--version=1", f"--revision={planned}", "--tries=1",
            f"--destination={tmp_path / 'volume'}", f"--ca-bundle={bundle}", ALLOW,
            *(options if source.options else []),
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    last = json.loads(done.stdout.splitlines()[-1])
    if believed:
        assert done.returncode == ExitCode.SYNCED, last
        assert tree(tmp_path / "volume" / "1") == contents()
    else:
        assert done.returncode == ExitCode.SOURCE_UNAVAILABLE
        assert "add that CA to caBundle" in last["message"]
