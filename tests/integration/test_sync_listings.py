"""Long listings of a real S3 server: looked over page by page, and proven, while little is held."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.s3 import S3Server
from local_stores import local_options
from slipway_sync.exports import ListingSummary, Proof, revision
from slipway_sync.stores import Store, open_store, prove, summarize
from small_exports import contents, write

BUCKET = "listings"
COUNT = 12_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A bucket whose objects are put into the server's folder, which is much faster than PUT."""
    with S3Server.start(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket(BUCKET)
        folder = server.layout.data / BUCKET / "m" / "1"
        write(folder, contents())
        _fill(folder)
        keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        yield open_store(
            f"s3://{BUCKET}/m", local_options(endpoint=server.endpoint, credentials=keys)
        )


def _fill(folder: Path) -> None:
    for number in range(COUNT // 1000):
        directory = folder / "assets" / f"d{number:02d}"
        directory.mkdir()
        for file in range(1000):
            (directory / f"{file:04d}.txt").write_bytes(b"x")
    # Sorts between a directory and what lies in it, byte by byte.
    (folder / "assets" / "d01-x").write_bytes(b"y")
    (folder / "assets" / "d01.x").write_bytes(b"y")


class Turns(asyncio.SelectorEventLoop):
    """Notes the most seconds of the processor that one turn of the loop takes."""

    longest = 0.0

    def _run_once(self) -> None:
        before = time.thread_time()
        super()._run_once()  # type: ignore[misc]
        self.longest = max(self.longest, time.thread_time() - before)


def test_a_long_listing_is_surveyed_and_proven_as_a_short_one_is(store: Store) -> None:
    loop = Turns()

    async def looked() -> tuple[ListingSummary, Proof, int]:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = await summarize(store, "1")
        assert found is not None
        proof = await prove(store, "1", found)
        assert await summarize(store, "1", unless=found.fingerprint) is None
        return found, proof, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    try:
        found, proof, grown = loop.run_until_complete(looked())
        print(f"{found.count} objects: {grown} KiB, a turn took {loop.longest * 1000:.1f} ms")  # noqa: T201
        assert proof.reason == "Complete"
        assert found.count == COUNT + len(contents()) + 2
        assert not found.whole
        assert len(found.sizes) < 10
        assert grown < 32 << 10
        listing = loop.run_until_complete(store.listing("1"))
    finally:
        loop.close()
    assert found.revision == revision(listing), "the agent finds what was planned"
    assert len(listing) == found.count
