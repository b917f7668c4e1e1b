"""What a sync asks of an export beside its being whole: tags, a manifest, a signature."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from signed_exports import OTHER_KEY, PUBLIC, signed, summed
from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.fetch.fetch import FetchRequest, Runtime, fetch
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.exports import ExitCode, ObjectInfo, Requirements, SyncOutcome, revision
from slipway_sync.stores import LocalStore, described
from small_exports import ASSET, SHARD_1, contents, tree, write

SIGNED = Requirements(public_keys=(PUBLIC,))


class Line(LocalStore):
    """A store whose line harms a file, so many times."""

    harm: str = ""
    times: int = 0
    opened: list[str]

    async def stream(
        self, directory: str, item: ObjectInfo, *, start: int, length: int
    ) -> AsyncIterator[bytes]:
        self.opened.append(item.path)
        async for chunk in super().stream(directory, item, start=start, length=length):
            if item.path == self.harm and self.times:
                self.times -= 1
                yield bytes([chunk[0] ^ 1]) + chunk[1:]
            else:
                yield chunk


@dataclass
class World:
    home: Path
    files: dict[str, bytes]
    opened: list[str] = field(default_factory=list)

    def fetch(self, *, harm: str = "", times: int = 0, **changes: Any) -> SyncOutcome:
        write(self.home / "source" / "3", self.files)
        store = Line(self.home / "source")
        store.harm, store.times, store.opened = harm, times, self.opened
        planned = revision(asyncio.run(store.listing("3")))
        request = FetchRequest("3", 3, planned, self.home / "volume", **changes)

        async def sleep(_seconds: float) -> None:
            return

        runtime = Runtime(lambda _: None, lambda: 0.0, RetryPolicy(sleep, lambda: 0.5))
        return asyncio.run(fetch(request, store, runtime))

    def fails(self, **changes: Any) -> SyncError:
        with pytest.raises(SyncError) as caught:
            self.fetch(**changes)
        assert not (self.home / "volume" / "3").exists()
        return caught.value


def test_a_manifest_describes_the_files_of_a_listing(tmp_path: Path) -> None:
    files = contents()
    write(tmp_path / "3", files | {"SHA256SUMS": summed({ASSET: files[ASSET]})})
    store = LocalStore(tmp_path)
    listing = asyncio.run(store.listing("3"))
    found = {item.path: item.sha256 for item in asyncio.run(described(store, "3", listing))}
    assert found[ASSET] == hashlib.sha256(files[ASSET]).hexdigest()
    assert {sha256 for path, sha256 in found.items() if path != ASSET} == {""}
    assert revision(asyncio.run(described(store, "3", listing))) == revision(listing)


def test_what_the_manifest_names_arrives_as_it_was_written(tmp_path: Path) -> None:
    world = World(tmp_path, contents() | {"SHA256SUMS": summed(contents())})
    assert world.fetch().reason == "Synced"
    assert tree(tmp_path / "volume" / "3") == world.files


def test_a_file_that_is_not_the_authors_is_fetched_once_more_and_rejected_by_name(
    tmp_path: Path,
) -> None:
    files = contents()
    world = World(tmp_path, files | {"SHA256SUMS": summed(files), ASSET: b"apple\nBanana\n"})
    error = world.fails()
    assert (error.code, error.reason, error.object) == (ExitCode.REJECTED, "WrongDigest", ASSET)
    assert str(error).startswith(f"{ASSET} has the SHA-256 ")
    assert world.opened.count(ASSET) == 2


def test_a_file_harmed_on_the_line_is_fetched_once_more(tmp_path: Path) -> None:
    """No tensor's checksum covers an asset; the manifest does."""
    world = World(tmp_path, contents() | {"SHA256SUMS": summed(contents())})
    assert world.fetch(harm=ASSET, times=1).reason == "Synced"
    assert tree(tmp_path / "volume" / "3") == world.files


def test_a_manifest_that_changed_on_the_way_is_not_the_one_that_counts(tmp_path: Path) -> None:
    """What was brought is held against the manifest that was brought."""
    files = contents()
    world = World(tmp_path, files | {"SHA256SUMS": summed(files)})
    error = world.fails(harm="SHA256SUMS", times=99)
    assert error.code is ExitCode.REJECTED
    assert error.reason in {"WrongDigest", "UnreadableManifest"}


def test_only_signed_exports_arrive_where_a_signature_is_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path / "good", signed(contents()))
    assert world.fetch(requirements=SIGNED).reason == "Synced"
    for files, reason in (
        (contents(), "Unsigned"),
        (signed(contents(), key=OTHER_KEY), "WrongSignature"),
        (signed(contents(), unnamed=SHARD_1), "UnsignedFile"),
    ):
        error = World(tmp_path / reason, files).fails(requirements=SIGNED)
        assert (error.code, error.reason) == (ExitCode.REJECTED, reason)


def test_a_signed_manifest_of_other_bytes_is_no_way_in(tmp_path: Path) -> None:
    files = signed(contents()) | {"saved_model.pb": contents()["saved_model.pb"] + b"\x08\x02"}
    error = World(tmp_path, files).fails(requirements=SIGNED)
    assert (error.reason, error.object) == ("WrongDigest", "saved_model.pb")


def test_the_signature_is_looked_at_again_on_the_volume(tmp_path: Path) -> None:
    world = World(tmp_path, signed(contents()))
    error = world.fails(requirements=SIGNED, harm="SHA256SUMS.sig", times=99)
    assert (error.code, error.reason) == (ExitCode.REJECTED, "WrongSignature")


def test_what_lies_on_the_volume_is_judged_by_what_is_asked_now(tmp_path: Path) -> None:
    world = World(tmp_path, contents())
    assert world.fetch().reason == "Synced"
    with pytest.raises(SyncError) as caught:
        world.fetch(requirements=SIGNED)
    assert caught.value.reason == "Unsigned"
    with pytest.raises(SyncError) as caught:
        world.fetch(requirements=Requirements(tags=("gpu",)))
    assert caught.value.reason == "MissingTags"


def test_what_an_agent_brought_that_knew_no_manifests_is_held_against_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def undescribed(_store: object, _directory: str, listing: object) -> object:
        return listing

    files = contents()
    world = World(tmp_path, files | {"SHA256SUMS": summed(files), ASSET: b"pear\n"})
    with monkeypatch.context() as patch:
        patch.setattr("slipway_sync.agent.fetch.fetch.require_digests", lambda *_: None)
        patch.setattr("slipway_sync.agent.fetch.fetch.described", undescribed)
        assert world.fetch().reason == "Synced"
    with pytest.raises(SyncError) as caught:
        world.fetch()
    assert (caught.value.reason, caught.value.object) == ("WrongDigest", ASSET)


def test_other_tags_are_refused_before_anything_is_brought(tmp_path: Path) -> None:
    world = World(tmp_path, contents())
    error = world.fails(requirements=Requirements(tags=("serve", "gpu")))
    assert (error.code, error.reason) == (ExitCode.REJECTED, "MissingTags")
    assert world.opened == []


def agent(tmp_path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    planned = revision(asyncio.run(LocalStore(tmp_path / "source").listing("3")))
    log = tmp_path / "log"
    ran = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("slipway-sync")), "fetch"),
            f"--source=file://{tmp_path}/source",
            *("--directory=3", "--version=3", f"--revision={planned}"),
            *(f"--destination={tmp_path}/volume", f"--termination-log={log}"),
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, json.loads(log.read_text()) if log.exists() else {"stderr": ran.stderr}


def test_the_command_line_takes_tags_and_a_key(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from signed_exports import KEY

    write(tmp_path / "source" / "3", signed(contents()))
    key = tmp_path / "publicKey.pem"
    key.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    code, outcome = agent(tmp_path, f"--public-key={key}", "--tag=gpu", "--tag=serve")
    assert (code, outcome["reason"]) == (65, "MissingTags")
    assert "the tags gpu, serve" in outcome["message"]
    assert agent(tmp_path, f"--public-key={key}", "--tag=serve")[1]["reason"] == "Synced"
    key.write_text("no key")
    code, outcome = agent(tmp_path, f"--public-key={key}")
    assert code == 64
    assert outcome["message"].endswith(
        "is not usable: it contains no PEM block -----BEGIN PUBLIC KEY-----"
    )
    assert agent(tmp_path, f"--public-key={tmp_path}/none")[0] == 64
