"""A Model that is made again under its name has nothing of the deleted one."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

import virtualtime
from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import ModelResource
from slipway_operator.cluster.client import MODELS, NotFoundError, Resource
from slipway_operator.reconcile.loop import Loop
from slipway_operator.reconcile.reconciler import Reconciler
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.reconcile.sources.errors import CredentialsError
from slipway_operator.reconcile.sources.model_sources import ModelSources
from slipway_operator.reconcile.sources.volume_watchers import VolumeWatchers
from slipway_operator.rendering.settings import RenderSettings

OLD, NEW = "u-old", "u-new"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Api:
    """An API server that has one Model, and remembers what was written to the status of each."""

    def __init__(self) -> None:
        self.uid = OLD
        self.written: dict[str, list[str]] = {OLD: [], NEW: []}

    def body(self) -> dict[str, Any]:
        version = {OLD: "1", NEW: "2"}[self.uid]
        return {
            "metadata": {
                "namespace": "ml",
                "name": "digits",
                "uid": self.uid,
                "resourceVersion": version,
            },
            "spec": {"source": {"uri": "s3://models/digits"}},
        }

    async def get(self, resource: Resource, *_: object) -> dict[str, Any]:
        if resource == MODELS:
            return self.body()
        raise NotFoundError("there is none")

    async def list(self, resource: Resource, *_: object) -> list[dict[str, Any]]:
        return [self.body()] if resource == MODELS else []

    async def merge(self, *arguments: Any) -> None:
        patch: Mapping[str, Any] = arguments[3]
        self.written[patch["metadata"]["uid"]].append(str(patch))

    async def create(self, *_: object) -> None: ...


class Stores:
    """Each Model's store answers, with an error that names it, once it is let."""

    def __init__(self) -> None:
        self.answers = {uid: asyncio.Event() for uid in (OLD, NEW)}
        self.asked: list[str] = []

    async def resolve(self, model: ModelResource) -> Any:
        self.asked.append(model.uid)
        await self.answers[model.uid].wait()
        raise CredentialsError(Reason.CREDENTIALS_MISSING, f"no keys for {model.uid}")


def key(uid: str) -> Key:
    return Key("ml", "digits", uid)


@pytest.mark.parametrize("told", [True, False], ids=["deletion seen", "deletion missed"])
@pytest.mark.parametrize("first", [OLD, NEW])
def test_a_poll_that_ends_late_is_not_the_new_models(*, told: bool, first: str) -> None:
    api = Api()

    async def body() -> tuple[list[str], ModelSources]:
        stores = Stores()
        client = cast("Any", api)
        watchers = VolumeWatchers(client, lambda: NOW)
        sources = ModelSources(cast("Any", stores), watchers, lambda: NOW, lambda: 0.5)
        settings = RenderSettings("server", "sync")
        reconciler = Reconciler(client, sources, settings, "me", lambda: NOW)
        loop = Loop(client, reconciler, sources, ())
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(1)  # virtual seconds, as all below
        loop.model_changed(key(OLD), 1)
        await asyncio.sleep(1)
        assert stores.asked == [OLD]
        api.uid = NEW
        if told:
            loop.model_deleted(key(OLD))
        loop.model_changed(key(NEW), 2)
        await asyncio.sleep(1)
        assert stores.asked == [OLD, NEW], "the new Model waits for no store of the old one"
        for uid in (first, *({OLD, NEW} - {first})):
            stores.answers[uid].set()
            await asyncio.sleep(5)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return api.written[NEW], sources

    written, sources = virtualtime.run(body())
    assert any(f"no keys for {NEW}" in patch for patch in written)
    assert not any(f"no keys for {OLD}" in patch for patch in written)
    assert sources.polled(key(NEW))
    assert not sources.polled(key(OLD)), "nothing is kept of a Model that is gone"
