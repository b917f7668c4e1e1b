"""What the operator's look for new versions costs: polls of a Model whose source does not change."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import snapshots
from slipway_operator.api.resource import ModelResource
from slipway_operator.discovery.poll_state import PollState
from slipway_operator.discovery.poller import poll
from slipway_operator.model.source import Readiness
from slipway_sync.stores import AddressPolicy, Store, StoreOptions, open_store
from sync_bench.clients import BUCKET, PREFIX
from sync_bench.server import NETWORK, Server

POLLS = 200


@dataclass(frozen=True, slots=True)
class Polls:
    """What polls took.

    Attributes:
        name: which ones.
        cpu: milliseconds of the operator's CPU time for one.
        asked: operations at the server for all of them.
        count: how many they were.
    """

    name: str
    cpu: float
    asked: Counter[str]
    count: int


def measure(server: Server) -> list[Polls]:
    """Poll a source until its export is proven, then many times more."""
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    uri = f"s3://{BUCKET}/{PREFIX}"
    options = StoreOptions(
        endpoint=server.endpoint,
        credentials=keys,
        addresses=AddressPolicy.allowing([NETWORK]),
    )
    store = open_store(uri, options)
    model = snapshots.model(source={"uri": uri, "settle": "1s"})
    return asyncio.run(_measured(server, store, model))


async def _measured(server: Server, store: Store, model: ModelResource) -> list[Polls]:
    # The first look lists; the second, when the listing has stood still, proves; the others only list.
    now = datetime.now(UTC)
    memory = (await poll(store, model, PollState(), now, 0.5)).state
    server.asked()
    found = []
    for name, count in (
        ("the one that proves the export", 1),
        ("one of an unchanged source", POLLS),
    ):
        began = time.process_time()
        for _ in range(count):
            now += timedelta(seconds=30)
            done = await poll(store, model, memory, now, 0.5)
            memory = done.state
        used = time.process_time() - began
        found.append(Polls(name, used / count * 1000, server.asked(), count))
        if [version.readiness for version in done.observation.versions] != [Readiness.COMPLETE]:
            raise RuntimeError(f"the export was not proven: {done.observation}")
    return found


def lines(polls: Sequence[Polls]) -> list[str]:
    """A table."""
    return [
        "| poll of a Model with one version of 200 files | operator's CPU ms | requests |",
        "|---|---:|---|",
        *(
            f"| {one.name} | {one.cpu:.1f} | "
            + ", ".join(
                f"{count / one.count:g} {name}" for name, count in sorted(one.asked.items())
            )
            + " |"
            for one in polls
        ),
    ]
