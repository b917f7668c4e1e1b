"""An interval that has ended is judged once, whatever becomes of the plan that it went into."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from slipway_operator.model.observed import Observed
from slipway_operator.reconcile import reconciler as module
from slipway_operator.reconcile.reconciler import Reconciler
from slipway_operator.reconcile.scheduler import Key
from slipway_operator.rendering.settings import RenderSettings
from snapshots import listed

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Api:
    """An API server that writes a status, unless told otherwise, and nothing else."""

    def __init__(self, *, writes: bool) -> None:
        self._writes = writes

    async def get(self, *_: object) -> dict[str, Any]:
        metadata = {"namespace": "ml", "name": "digits", "uid": "u", "resourceVersion": "1"}
        return {"metadata": metadata, "spec": {"source": {"uri": "s3://models/digits"}}}

    async def list(self, *_: object) -> list[dict[str, Any]]:
        return []

    async def merge(self, *_: object) -> None:
        if not self._writes:
            raise OSError("no status")

    async def create(self, *_: object) -> None:
        raise OSError("no action")


class Sources:
    """A store with one version."""

    def observation(self, *_: object) -> Any:
        return listed(1)


class Samples:
    """Has an interval that has ended."""

    def __init__(self) -> None:
        self.taken_of: list[str] = []
        self.told: bool | None = None

    def add(self, observed: Observed) -> Observed:
        return observed

    def taken(self, observed: Observed, *, told: bool = True) -> None:
        self.taken_of.append(observed.model.uid)
        self.told = told


@pytest.mark.parametrize(
    ("writes", "plans", "taken", "told"),
    [(True, True, ["u"], True), (False, True, [], None), (True, False, ["u"], False)],
    ids=["action fails", "status fails", "plan fails"],
)
def test_it_is_taken_once_the_status_has_it_or_no_plan_can_be_made_with_it(
    *,
    writes: bool,
    plans: bool,
    taken: list[str],
    told: bool | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise OverflowError

    if not plans:
        monkeypatch.setattr(module, "plan", fails)
    client, sources, samples = cast("Any", Api(writes=writes)), cast("Any", Sources()), Samples()
    tested = Reconciler(client, sources, RenderSettings("server", "sync"), "me", lambda: NOW)
    tested._samples = cast("Any", samples)
    with pytest.raises((OSError, OverflowError)):
        asyncio.run(tested.reconcile(Key("ml", "digits", "u")))
    assert (samples.taken_of, samples.told) == (taken, told)
