"""A thousand Models against a real S3 server: what it is asked, when, and what a dead one does to others."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from cluster.s3 import S3Server
from polling_world import Cluster, Watched, operator_of, put_exports, requests, running

MODELS = 1000
INTERVAL = 8


def names(count: int) -> list[str]:
    return [f"m{number:04}" for number in range(count)]


@contextmanager
def s3_with_log(directory: Path) -> Iterator[tuple[S3Server, Path]]:
    log = directory / "access.log"
    with S3Server.start(directory / "s3", flags=(f"--access-log={log}",)) as s3:
        yield s3, log


def test_a_thousand_models_cost_two_pages_a_poll_and_no_herd(tmp_path: Path) -> None:
    """Started all at once, as after a restart of the operator."""

    async def story(s3: S3Server) -> Watched:
        cluster, watched = Cluster(s3), Watched()
        keys = [cluster.add(name, f"{INTERVAL}s", s3.endpoint) for name in names(MODELS)]
        loop, _ = operator_of(cluster, watched, timedelta(seconds=INTERVAL / MODELS))
        async with running(loop, watched):
            for key in keys:
                loop.model_changed(key, 1)
                loop.spec_changed(key)  # as the watch tells of each at first
            deadline = time.monotonic() + 6 * INTERVAL
            while any(len(watched.polls.get(name, ())) < 2 for name in names(MODELS)):
                assert time.monotonic() < deadline, Counter(map(len, watched.polls.values()))
                await asyncio.sleep(0.05)  # between two looks
            # What was asked and not yet counted is done when nothing moves.
        return watched

    with s3_with_log(tmp_path) as (s3, log):
        put_exports(s3, names(MODELS))
        before = requests(log)
        watched = asyncio.run(story(s3))
        asked = requests(log) - before
    firsts = sorted(moments[0] for moments in watched.polls.values())
    assert firsts[-1] - firsts[0] > 0.7 * INTERVAL, "the first polls are spread over the interval"
    in_each_second = Counter(int(moment - firsts[0]) for moment in firsts)
    assert max(in_each_second.values()) < 2.5 * MODELS / INTERVAL
    # The last polls may have been cut off between two requests.
    polls, slack = watched.count, 40
    assert polls <= asked["children"] <= polls + slack
    assert polls <= asked["listing"] <= polls + slack
    # Only the proof of each version read something: its graph, once.
    read = {kind: count for kind, count in asked.items() if kind not in ("children", "listing")}
    assert read == {"GetObject": MODELS}
    assert watched.lag < 2, "the event loop answers"


def test_models_of_a_dead_store_delay_no_other(tmp_path: Path) -> None:
    """It takes connections and says nothing; three times as many Models wait for it as fit in a lane."""

    async def story(s3: S3Server, dead: str) -> Watched:
        cluster, watched = Cluster(s3), Watched()
        stuck = [cluster.add(f"stuck{n}", "1s", dead) for n in range(50)]
        good = [cluster.add(name, "1s", s3.endpoint) for name in names(20)]
        loop, _ = operator_of(cluster, watched, timedelta(milliseconds=1))
        async with running(loop, watched):
            for key in stuck:
                loop.model_changed(key, 1)
            await asyncio.sleep(0.2)  # all of them wait now
            for key in good:
                loop.model_changed(key, 1)
            await asyncio.sleep(8)  # the measured time
        return watched

    silent = socket.create_server(("127.0.0.1", 0), backlog=256)
    with silent, s3_with_log(tmp_path) as (s3, _):
        put_exports(s3, names(20))
        watched = asyncio.run(story(s3, f"http://127.0.0.1:{silent.getsockname()[1]}"))
    for name in names(20):
        moments = watched.polls.get(name, [])
        assert len(moments) >= 5, (name, len(moments))
        assert max(b - a for a, b in pairwise(moments)) < 2.5
    assert watched.lag < 2
