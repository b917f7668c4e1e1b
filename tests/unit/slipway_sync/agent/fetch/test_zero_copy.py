"""A sync whose files come the direct way, as far as that goes, and the library's way from there on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fake_s3 import Asked, FakeS3, Fault
from local_stores import local_options
from slipway_sync.agent.errors import SyncError
from slipway_sync.agent.fetch import transfer
from slipway_sync.agent.fetch.credential_refresh import RenewedStore
from slipway_sync.agent.fetch.fetch import FetchRequest, Runtime, fetch
from slipway_sync.agent.fetch.file_check import FileCheck
from slipway_sync.agent.retry import RetryPolicy
from slipway_sync.exports import ExitCode, SyncOutcome, revision
from slipway_sync.stores import Patience, Store, open_store
from small_exports import SHARD_0, SHARD_1, contents, tree

SIZE = 400_000


@dataclass
class World:
    """A source that a test can spoil, and a volume."""

    fake: FakeS3
    home: Path
    reports: list[dict[str, int]] = field(default_factory=list)

    def store(self) -> Store:
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
        patience = Patience(stall=10, retries=0)
        options = local_options(endpoint=self.fake.endpoint, credentials=keys, patience=patience)
        return open_store("s3://models/digits", options)

    def fetch(self, wrapped: Callable[[Store], Store] = lambda store: store) -> SyncOutcome:
        store = wrapped(self.store())
        planned = revision(asyncio.run(store.listing("3")))
        request = FetchRequest("3", 3, planned, self.home / "volume")
        retry = RetryPolicy(lambda _: asyncio.sleep(0), lambda: 0.5)
        runtime = Runtime(self.reports.append, time.monotonic, retry)
        return asyncio.run(fetch(request, store, runtime))

    def transfers(self) -> list[Asked]:
        """Requests for content to keep; a proof reads the graph and the index without If-Match."""
        return [asked for asked in self.fake.asked if "if-match" in asked.headers]


def direct(asked: Asked) -> bool:
    return "X-Amz-Signature" in asked.query


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    objects = {f"digits/3/{path}": data for path, data in contents(size=SIZE).items()}
    with FakeS3(objects=objects) as fake:
        yield World(fake, tmp_path)


def test_every_byte_comes_the_direct_way_and_once(world: World) -> None:
    world.fetch()
    assert tree(world.home / "volume" / "3") == contents(size=SIZE)
    asked = world.transfers()
    assert all(direct(one) for one in asked)
    assert len(asked) == sum(1 for data in contents(size=SIZE).values() if data)
    assert world.reports[-1]["bytes"] == world.reports[-1]["totalBytes"]


def test_what_breaks_off_goes_on_in_the_librarys_way_where_it_stood(world: World) -> None:
    world.fake.fault = lambda asked: Fault(cut=100_000) if direct(asked) else None
    world.fetch()
    assert tree(world.home / "volume" / "3") == contents(size=SIZE)
    starts = [one.headers["range"] for one in world.transfers() if one.key.endswith(SHARD_1[-20:])]
    assert [text.partition("-")[0] for text in starts] == ["bytes=0", "bytes=100000"]


def test_a_store_that_takes_no_signed_urls_is_read_all_the_same(world: World) -> None:
    world.fake.fault = lambda asked: Fault(403, "AccessDenied") if direct(asked) else None
    world.fetch()
    assert tree(world.home / "volume" / "3") == contents(size=SIZE)
    assert [one for one in world.transfers() if not direct(one)]


def test_a_store_with_credentials_that_change_has_the_direct_way_too(world: World) -> None:
    world.fetch(lambda store: RenewedStore(store, lambda: None))
    assert all(direct(one) for one in world.transfers())


def test_a_flipped_bit_is_found_whichever_way_it_came(world: World) -> None:
    content = bytearray(contents(size=SIZE)[SHARD_1])
    content[1000] ^= 1
    world.fake.objects[f"digits/3/{SHARD_1}"] = bytes(content)
    with pytest.raises(SyncError) as caught:
        world.fetch()
    assert (caught.value.reason, caught.value.object) == ("CorruptShard", SHARD_1)
    assert not (world.home / "volume" / "3").exists()


def test_a_failure_does_not_wait_for_a_file_that_stands_still(world: World) -> None:
    """One shard is held back by the server, another is gone: the sync ends at once."""
    release = threading.Event()
    held = threading.Event()

    def fault(asked: Asked) -> Fault | None:
        if "if-match" not in asked.headers:
            return None
        if asked.key.endswith(SHARD_0):
            held.set()
            return Fault(hold=release)
        if asked.key.endswith(SHARD_1):
            held.wait(10)
            return Fault(403, "AccessDenied")
        return None

    world.fake.fault = fault
    began = time.monotonic()
    with pytest.raises(SyncError) as caught:
        world.fetch()
    took = time.monotonic() - began
    release.set()
    assert caught.value.code is ExitCode.ACCESS_DENIED
    assert took < 5, "the held one was cut off; the store's patience is ten seconds"


def test_a_large_file_is_read_again_while_its_end_is_still_to_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART", 50_000)
    read: list[int] = []
    release = threading.Event()

    def noted(check: FileCheck, end: int) -> None:
        real(check, end)
        read.append(end)
        if end == 350_000:  # All before the last part, which is held back until now.
            release.set()

    def fault(asked: Asked) -> Fault | None:
        last = asked.headers.get("range", "").startswith("bytes=350000")
        return Fault(hold=release) if direct(asked) and last else None

    real = FileCheck.read
    monkeypatch.setattr(FileCheck, "read", noted)
    world.fake.fault = fault
    world.fetch()
    assert release.is_set()
    assert tree(world.home / "volume" / "3") == contents(size=SIZE)
