"""Google Cloud Storage and Azure Blob Storage: the same table of what a store is to us, against real servers."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.stores import AzureServer, GcsServer, StoreServer
from local_stores import ALLOW, local_options
from slipway_sync.exports import ExitCode, Verdict, revision
from slipway_sync.stores import (
    ObjectReplacedError,
    SourceError,
    Store,
    open_store,
    prove,
)
from small_exports import contents

BUCKET = "models"


@dataclass(frozen=True)
class Cloud:
    scheme: str
    server: StoreServer
    credentials: Mapping[str, str]

    def store(self, path: str, **options: Any) -> Store:
        given = {"endpoint": self.server.endpoint, "credentials": self.credentials} | options
        return open_store(f"{self.scheme}://{BUCKET}/{path}", local_options(**given))

    def upload(self, path: str, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            self.server.put(BUCKET, f"{path}/{name}", content)


@pytest.fixture(scope="module", params=["gs", "az"])
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp(request.param)
    kind = GcsServer if request.param == "gs" else AzureServer
    keys = {"AZURE_STORAGE_ACCOUNT_KEY": AzureServer.key} if kind is AzureServer else {}
    with kind.start(directory) as server:
        server.create_bucket(BUCKET)
        yield Cloud(request.param, server, keys)


def test_children_are_directories_only(cloud: Cloud) -> None:
    cloud.upload("kids", {"1/a": b"x", "00000002/a/b": b"x", "file": b"x"})
    cloud.upload("kids2", {"3/a": b"x"})
    assert asyncio.run(cloud.store("kids").children()) == ("00000002", "1")


def test_a_listing_holds_one_version_and_not_its_namesake(cloud: Cloud) -> None:
    cloud.upload("list", {"1/b": b"xyz", "1/a/c d+ü": b"", "10/a": b"x"})
    listing = asyncio.run(cloud.store("list").listing("1"))
    assert [(item.path, item.size) for item in listing] == [("a/c d+ü", 0), ("b", 3)]
    assert all(item.etag for item in listing)


def test_a_revision_stands_still_and_follows_the_content(cloud: Cloud) -> None:
    cloud.upload("revision", {"1/a": b"one"})
    store = cloud.store("revision")
    before = revision(asyncio.run(store.listing("1")))
    assert revision(asyncio.run(store.listing("1"))) == before
    cloud.upload("revision", {"1/a": b"two"})
    assert revision(asyncio.run(store.listing("1"))) != before


def test_an_export_is_proven_and_one_without_a_shard_is_not(cloud: Cloud) -> None:
    files = contents()
    cloud.upload("proof/1", files)
    cloud.upload("proof/2", {name: data for name, data in files.items() if ".data-" not in name})
    store = cloud.store("proof")

    def verdict(version: str) -> Verdict:
        listing = asyncio.run(store.listing(version))
        return asyncio.run(prove(store, version, listing)).verdict

    assert verdict("1") is Verdict.COMPLETE
    assert verdict("2") is Verdict.INCOMPLETE


def test_ranges_and_streams_are_exact_and_replacement_is_seen(cloud: Cloud) -> None:
    content = bytes(range(256)) * 20_000
    cloud.upload("stream", {"1/big": content})
    store = cloud.store("stream")
    assert asyncio.run(store.read("1", "big", start=300, length=500)) == content[300:800]
    [item] = asyncio.run(store.listing("1"))

    async def streamed() -> bytes:
        parts = store.stream("1", item, start=7, length=len(content) - 20)
        return b"".join([part async for part in parts])

    assert asyncio.run(streamed()) == content[7:-13]
    cloud.upload("stream", {"1/big": content[::-1]})
    with pytest.raises(ObjectReplacedError):
        asyncio.run(streamed())


def test_what_is_not_there_is_not_found(cloud: Cloud) -> None:
    with pytest.raises(SourceError) as caught:
        asyncio.run(cloud.store("nothing").read("1", "saved_model.pb"))
    assert caught.value.reason == "NotFound"
    assert asyncio.run(cloud.store("nothing").children()) == ()


def test_a_version_is_brought_to_the_volume_and_found_there(cloud: Cloud, tmp_path: Path) -> None:
    cloud.upload("fetch/00000007", contents())
    planned = revision(asyncio.run(cloud.store("fetch").listing("00000007")))
    keys = tmp_path / "keys"
    keys.mkdir()
    for name, value in cloud.credentials.items():
        (keys / name).write_text(value)
    command = [
        sys.executable, "-m", "slipway_sync.agent", "fetch",
        f"--source={cloud.scheme}://{BUCKET}/fetch", "--directory=00000007", "--version=7",
        f"--revision={planned}", f"--destination={tmp_path / 'volume'}",
        f"--endpoint={cloud.server.endpoint}", ALLOW,
        *([f"--credentials={keys}"] if cloud.credentials else []),
    ]  # fmt: skip
    for expected in ("is on the volume", "was already on the volume"):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == ExitCode.SYNCED, done.stdout + done.stderr
        assert expected in json.loads(done.stdout.splitlines()[-1])["message"]
    there = {
        path.relative_to(tmp_path / "volume" / "7").as_posix(): path.read_bytes()
        for path in (tmp_path / "volume" / "7").rglob("*")
        if path.is_file()
    }
    assert there == contents()


def test_a_wrong_key_is_access_denied_and_never_quoted(tmp_path: Path) -> None:
    import base64

    wrong = base64.b64encode(hashlib.sha512(b"wrong").digest()).decode()
    with AzureServer.start(tmp_path) as server:
        server.create_bucket(BUCKET)
        options = local_options(
            endpoint=server.endpoint, credentials={"AZURE_STORAGE_ACCOUNT_KEY": wrong}
        )
        with pytest.raises(SourceError) as caught:
            asyncio.run(open_store(f"az://{BUCKET}/m", options).children())
    assert caught.value.reason == "AccessDenied"
    assert wrong not in str(caught.value)
