"""A version of 100 000 objects on a real S3 server: listed in bounded memory and time."""

import asyncio
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.s3 import S3Server
from faults_columns import BUCKET, Agent, S3Column, column
from slipway_sync.exports import ExitCode, Verdict
from slipway_sync.stores import prove, summarize
from small_exports import contents

COUNT = 100_000
FILES = {path: content for path, content in contents().items() if content}
"""An empty object makes a long listing be asked for again: it may be the marker of a folder."""
LIMIT_KIB = 256 * 1024


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Column]:
    with column("s3", tmp_path_factory.mktemp("s3")) as made:
        assert isinstance(made, S3Column)
        made.upload("many/3", FILES)
        _fill(made.server)
        yield made


def _fill(server: S3Server) -> None:
    """Put objects where the server keeps them: uploading each would take minutes."""
    top = server.data / BUCKET / "many" / "3" / "assets"
    for number in range(COUNT):
        directory = top / f"{number // 1000:03}"
        first = directory / f"{number // 1000 * 1000:06}"
        if number % 1000 == 0:
            directory.mkdir()
            first.write_bytes(b"x")
        else:
            os.link(first, directory / f"{number:06}")


def test_discovery_streams_the_listing(store: S3Column) -> None:
    source = store.store("many")
    store.proxy.reset()

    async def looked() -> None:
        found = await summarize(source, "3")
        assert found is not None
        assert found.count == COUNT + len(FILES)
        assert (await prove(source, "3", found)).verdict is Verdict.COMPLETE

    tracemalloc.start()
    asyncio.run(looked())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20
    # Once for the survey, once more for what a listing of this length is only looked through for.
    assert store.proxy.count(store.lists) <= 2 * (COUNT // 1000 + 2)


def test_the_agent_lists_them_in_bounded_memory(store: S3Column, tmp_path: Path) -> None:
    agent = Agent(store, "many", tmp_path, revision="0" * 64)
    script = (
        "import resource, subprocess, sys;"
        "code = subprocess.run(sys.argv[1:]).returncode;"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss;"
        f"assert peak < {LIMIT_KIB}, peak;"
        "sys.exit(code)"
    )
    agent.wrapper = (sys.executable, "-c", script)
    within_limit = agent.run()
    assert within_limit.code == ExitCode.REVISION_MOVED, within_limit.said
    assert not agent.version.exists()
