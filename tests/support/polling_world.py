"""A fleet of Models that are only polled: the operator's own parts, a real S3 server, a fake API server.

The loop, the schedules, the polls and the clients are the operator's; the API server is a dictionary.
Every Model has one complete version and is paused, so that nothing is deployed.
"""

import asyncio
import contextlib
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from typing_extensions import override

from cluster.s3 import S3Server
from local_stores import local_options
from slipway_operator.cluster.client import MODELS, NotFoundError, Resource
from slipway_operator.reconcile.loop import SPACING, Loop
from slipway_operator.reconcile.reconciler import Polled, Reconciler
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.reconcile.sources.access import AccessResolver
from slipway_operator.reconcile.sources.errors import Installation
from slipway_operator.reconcile.sources.identities import Identities
from slipway_operator.reconcile.sources.model_sources import ModelSources
from slipway_operator.reconcile.sources.referenced_objects import ReferencedObjects
from slipway_operator.reconcile.sources.volume_watchers import VolumeWatchers
from slipway_operator.rendering.settings import RenderSettings
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
        return Key(NAMESPACE, name, name)

    async def get(self, resource: Resource, _: str, name: str) -> dict[str, Any]:
        if resource == MODELS:
            return self.models[name]
        if resource.plural == "secrets":
            from base64 import b64encode

            data = {k: b64encode(v.encode()).decode() for k, v in self._secret.items()}
            return {"metadata": {"name": name}, "data": data}
        raise NotFoundError("there is none")

    async def list(self, resource: Resource, *_: object, **__: object) -> Iterable[dict[str, Any]]:
        return list(self.models.values()) if resource == MODELS else []

    async def merge(
        self, _: Resource, __: str, name: str, patch: Mapping[str, Any], ___: str = ""
    ) -> None:
        self.models[name].setdefault("status", {}).update(patch["status"])

    async def create(self, *_: object) -> None:
        """An Event."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


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
    """Writes down when polls end; one that is cut off may have asked for nothing yet, and does not count."""

    watched: Watched

    @override
    async def poll(self, key: Key) -> Polled | None:
        cut_off = False
        try:
            return await super().poll(key)
        except asyncio.CancelledError:
            cut_off = True
            raise
        finally:
            if not cut_off:
                self.watched.polls.setdefault(key.name, []).append(time.monotonic())


def operator_of(
    cluster: Cluster, watched: Watched, spacing: timedelta = SPACING
) -> tuple[Loop, ModelSources]:
    """The operator's own parts around such a cluster."""
    client = cast("Any", cluster)
    here = Installation("slipway-system", "slipway-operator")
    objects = ReferencedObjects(client, here)
    access = AccessResolver(objects, Identities(client, objects, here, None), local_options())
    watchers = VolumeWatchers(client, _utc_now)
    sources = ModelSources(access, watchers, _utc_now, random.random)
    settings = RenderSettings("server:1", "sync:1")
    reconciler = Counting(client, sources, settings, "bench", _utc_now)
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
