"""What polling many Models costs: requests as the S3 server counts them, CPU and memory of the operator.

    python -m polling --models 1000 --interval 30 --rounds 3

The loop, the schedules, the polls and the clients are the operator's own, the S3 server (versitygw) is a
real one; the API server is a dictionary in this process, whose cost is therefore counted, too. Every
Model has one complete version and is paused, so that nothing is deployed.
"""

import asyncio
import contextlib
import random
import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cluster.s3 import S3Server
from slipway_operator.__main__ import configure_logging
from slipway_operator.cluster.client import MODELS, NotFoundError, Resource
from slipway_operator.reconcile.access import Accesses
from slipway_operator.reconcile.failing import Installation
from slipway_operator.reconcile.identities import Identities
from slipway_operator.reconcile.lookup import Lookup
from slipway_operator.reconcile.loop import SPACING, Loop
from slipway_operator.reconcile.reconciler import Polled, Reconciler
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.reconcile.sources import Sources
from slipway_operator.rendering.settings import RenderSettings
from slipway_sync.stores import AddressPolicy
from slipway_sync.wire import tensorflow_pb2

BUCKET = "models"
NAMESPACE = "ml"
_ACCESS = re.compile(r" s3_(\w+) \S+ (\S+) \d{3} ")


class Cluster:
    """The API server, as far as polls and plans ask it."""

    def __init__(self, s3: S3Server) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self._secret = {
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        }

    def add(self, name: str, interval: str, endpoint: str) -> Key:
        self.models[name] = {
            "metadata": {"namespace": NAMESPACE, "name": name, "uid": name, "resourceVersion": "1"},
            "spec": {
                "paused": True,
                "source": {
                    "uri": f"s3://{BUCKET}/{name}",
                    "endpoint": endpoint,
                    "credentialsSecret": "s3",
                    "pollInterval": interval,
                    "settle": "0s",
                },
            },
        }
        return Key(NAMESPACE, name)

    async def get(self, resource: Resource, _: str, name: str) -> dict[str, Any]:
        if resource == MODELS:
            return self.models[name]
        if resource.plural == "secrets":
            from base64 import b64encode

            return {"data": {k: b64encode(v.encode()).decode() for k, v in self._secret.items()}}
        raise NotFoundError("there is none")

    async def list(self, resource: Resource, *_: object, **__: object) -> Iterable[dict[str, Any]]:
        return list(self.models.values()) if resource == MODELS else []

    async def merge(
        self, _: Resource, __: str, name: str, patch: Mapping[str, Any], ___: str = ""
    ) -> None:
        self.models[name].setdefault("status", {}).update(patch["status"])

    async def create(self, *_: object) -> None:
        """An Event."""


@dataclass
class Watched:
    """What happened.

    Attributes:
        polls: When each poll ended, by Model; seconds of the loop's clock.
        lag: The longest that the event loop kept a timer waiting, in seconds.
    """

    polls: dict[str, list[float]] = field(default_factory=dict)
    lag: float = 0.0

    @property
    def count(self) -> int:
        return sum(map(len, self.polls.values()))


class Counting(Reconciler):
    """Writes down when polls end."""

    watched: Watched

    async def poll(self, key: Key) -> Polled | None:
        try:
            return await super().poll(key)
        finally:
            self.watched.polls.setdefault(key.name, []).append(time.monotonic())


def operator_of(
    cluster: Cluster, watched: Watched, spacing: timedelta = SPACING
) -> tuple[Loop, Sources]:
    """The operator's own parts around such a cluster."""
    client = cast("Any", cluster)
    here = Installation("slipway-system", "slipway-operator")
    lookup = Lookup(client, here)
    accesses = Accesses(lookup, Identities(client, lookup, here, None), AddressPolicy())
    sources = Sources(accesses, lambda: datetime.now(UTC), random.random)
    settings = RenderSettings("server:1", "sync:1")
    reconciler = Counting(client, sources, settings, "bench", lambda: datetime.now(UTC))
    reconciler.watched = watched
    return Loop(client, reconciler, sources, (), spacing=spacing), sources


async def watch_lag(watched: Watched) -> None:
    """Measure how late a timer is."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.05
        await asyncio.sleep(0.05)  # a probe of the event loop
        watched.lag = max(watched.lag, loop.time() - due)


@contextlib.asynccontextmanager
async def running(loop: Loop, watched: Watched) -> Any:
    """The loop at work, and its lag measured."""
    tasks = [asyncio.create_task(loop.run()), asyncio.create_task(watch_lag(watched))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def put_exports(s3: S3Server, names: Iterable[str]) -> None:
    """One small complete export for each Model."""
    saved = tensorflow_pb2.SavedModel()
    saved.meta_graphs.add().meta_info_def.tags.append("serve")
    s3.create_bucket(BUCKET)
    for name in names:
        folder = s3.data / BUCKET / name / "1"
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(saved.SerializeToString())


def requests(log: Path) -> Counter[str]:
    """What the server was asked: `children` and `listing` are pages of a LIST, with and without `/`."""
    found: Counter[str] = Counter()
    for operation, target in _ACCESS.findall(log.read_text()):
        if operation == "ListObjectsV2":
            found["children" if "delimiter=" in target else "listing"] += 1
        else:
            found[operation] += 1
    return found


async def _measure(models: int, interval: float, rounds: int, s3: S3Server, log: Path) -> str:
    cluster, watched = Cluster(s3), Watched()
    keys = [cluster.add(f"m{n:04}", f"{interval:g}s", s3.endpoint) for n in range(models)]
    loop, _ = operator_of(cluster, watched, timedelta(seconds=interval / models))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = []
    async with running(loop, watched):
        for key in keys:
            loop.model_changed(key, 1)
        done, asked, cpu = 0, Counter[str](), time.process_time()
        for number in range(rounds):
            watched.lag = 0.0
            await asyncio.sleep(interval)  # the measured time
            polls = watched.count - done
            now, used = requests(log), time.process_time()
            kinds = {kind: (now[kind] - asked[kind]) / max(1, polls) for kind in sorted(now)}
            told = ", ".join(f"{kind} {share:.2f}" for kind, share in kinds.items())
            rows.append(
                f"| {number + 1} | {polls} | {told} | {(used - cpu) / max(1, polls) * 1000:.1f} ms "
                f"| {(used - cpu) / interval * 100:.0f} % | {watched.lag * 1000:.0f} ms |"
            )
            done, asked, cpu = watched.count, now, used
    after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return "\n".join(
        [
            f"{models} Models, one complete version each, polled every {interval:g} s.",
            "",
            "| round | polls | requests for each poll | CPU for each poll | of one core | worst lag |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Memory: {before_kb // 1024} MiB before, {after_kb // 1024} MiB at most.",
        ]
    )


def main(
    models: Annotated[int, typer.Option(help="How many Models.")] = 1000,
    interval: Annotated[float, typer.Option(help="Seconds between two polls of one.")] = 30,
    rounds: Annotated[int, typer.Option(help="Intervals to measure.")] = 3,
) -> None:
    """Measure, and print a table."""
    configure_logging("warning")
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "access.log"
        with S3Server.start(Path(name) / "s3", flags=(f"--access-log={log}",)) as s3:
            put_exports(s3, (f"m{n:04}" for n in range(models)))
            typer.echo(asyncio.run(_measure(models, interval, rounds, s3, log)))


if __name__ == "__main__":
    typer.run(main)
