"""An export proven where it lies."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signed_exports import PUBLIC, signed
from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.fetch.fetch import FetchRequest, Runtime, fetch
from slipway_sync.agent.inplace.verify import VerifyRequest, verify
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.exports import ExitCode, Requirements, SyncOutcome, digest, revision
from slipway_sync.stores import LocalStore, MountedStore
from small_exports import ASSET, INDEX, SHARD_0, SHARD_1, contents, tree, write


class Mount:
    """A volume with one version, and what verifying it says."""

    def __init__(self, root: Path) -> None:
        self.version = root / "m" / "3"
        self.store = MountedStore(root, "m")
        self.reports: list[dict[str, int]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        write(self.version, contents())

    def planned(self) -> str:
        return revision(asyncio.run(self.store.listing("3")))

    def verify(self, **changes: Any) -> SyncOutcome:
        request = replace(VerifyRequest("3", 3, self.planned()), **changes)
        ticks = iter(range(1 << 30))

        def report(numbers: dict[str, int]) -> None:
            self.reports.append(numbers)
            self.meanwhile()

        return asyncio.run(verify(request, self.store, report, lambda: next(ticks)))

    def fails(self, **changes: Any) -> SyncError:
        before = tree(self.version)
        with pytest.raises(SyncError) as caught:
            self.verify(**changes)
        assert tree(self.version) == before
        return caught.value


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "mount")


def test_a_good_export_gets_the_digest_that_a_download_of_it_gets(
    mount: Mount, tmp_path: Path
) -> None:
    outcome = mount.verify()
    total = sum(map(len, contents().values()))
    assert (outcome.reason, outcome.bytes) == ("Synced", total)
    assert mount.reports[-1]["bytes"] == mount.reports[-1]["totalBytes"] == total
    assert mount.reports[-1]["files"] == len(contents())

    store = LocalStore(mount.version.parent)

    async def nothing(_: float) -> None:
        return

    runtime = Runtime(lambda _: None, lambda: 0.0, RetryPolicy(nothing, lambda: 0.5))
    planned = revision(asyncio.run(store.listing("3")))
    request = FetchRequest("3", 3, planned, tmp_path / "volume")
    assert asyncio.run(fetch(request, store, runtime)).digest == outcome.digest
    assert outcome.digest != digest({})


@pytest.mark.parametrize("shard", [SHARD_0, SHARD_1])
def test_a_flipped_bit_is_found(mount: Mount, shard: str) -> None:
    content = bytearray((mount.version / shard).read_bytes())
    content[len(content) // 2] ^= 1
    (mount.version / shard).write_bytes(content)
    error = mount.fails()
    assert (error.code, error.reason, error.object) == (ExitCode.REJECTED, "CorruptShard", shard)


@pytest.mark.parametrize(
    ("path", "reason"),
    [(SHARD_1, "MissingShard"), (ASSET, "MissingAsset"), (INDEX, "MissingVariables")],
)
def test_a_missing_file_is_named(mount: Mount, path: str, reason: str) -> None:
    (mount.version / path).unlink()
    error = mount.fails()
    assert (error.code, error.reason, error.object) == (ExitCode.REJECTED, reason, path)


def test_another_revision_than_the_planned_one_is_not_served(mount: Mount) -> None:
    planned = mount.planned()
    (mount.version / ASSET).write_bytes(b"pears\n")
    assert mount.fails(revision=planned).code is ExitCode.REVISION_MOVED
    for path in sorted(mount.version.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert mount.fails(revision=planned).code is ExitCode.REVISION_MOVED


def test_a_file_written_while_it_is_read_is_noticed(mount: Mount) -> None:
    """The first line of progress comes when the listing was checked and nothing is read yet."""
    planned = mount.planned()
    mount.meanwhile = lambda: (mount.version / ASSET).write_bytes(b"x" * len(contents()[ASSET]))
    with pytest.raises(SyncError) as caught:
        mount.verify(revision=planned)
    assert caught.value.code is ExitCode.REVISION_MOVED
    assert caught.value.object == ASSET


def test_a_link_is_rejected_and_nothing_of_the_version_is_read(mount: Mount) -> None:
    (mount.version / ASSET).unlink()
    (mount.version / ASSET).symlink_to("/etc/hostname")
    error = mount.fails()
    assert (error.code, error.reason, error.object) == (ExitCode.REJECTED, "NotAFile", ASSET)
    assert mount.reports == []


def test_a_pipe_in_place_of_a_file_holds_nothing_up(mount: Mount) -> None:
    (mount.version / ASSET).unlink()
    os.mkfifo(mount.version / ASSET)
    assert mount.fails().reason == "NotAFile"


def test_what_the_manifest_says_holds_for_a_volume_too(mount: Mount) -> None:
    write(mount.version, signed(contents()))
    asked = Requirements(public_keys=(PUBLIC,))
    assert mount.verify(requirements=asked).reason == "Synced"
    write(mount.version, {ASSET: b"pear\n"})
    error = mount.fails(requirements=asked)
    assert (error.reason, error.object) == ("WrongDigest", ASSET)
    write(mount.version, contents() | {"more": b"x"})
    assert mount.fails(requirements=asked).reason == "UnsignedFile"
    assert mount.fails(requirements=Requirements(tags=("gpu",))).reason == "MissingTags"
