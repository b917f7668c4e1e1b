"""Events as they are written: `kubectl describe` shows them in the order of their names."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from slipway_operator.cluster.client import Client
from slipway_operator.cluster.events import manifest, record
from slipway_operator.model.actions import KubernetesEvent
from snapshots import T0, model


def names_of(moments: list[datetime]) -> list[str]:
    event = KubernetesEvent("VersionStarting", "version 3")  # type: ignore[arg-type]
    return [manifest(model(), event, "operator-0", at)["metadata"]["name"] for at in moments]


def test_the_order_of_names_is_the_order_in_time() -> None:
    choice = random.Random(1)  # noqa: S311 (a test's choices)
    moments = [T0 + timedelta(microseconds=choice.randrange(10**12)) for _ in range(500)]
    moments += [T0 + timedelta(microseconds=n) for n in range(500)]
    moments += [datetime(1999, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)]
    named = dict(zip(names_of(moments), moments, strict=True))
    assert [named[name] for name in sorted(named)] == sorted(moments)


def test_the_same_event_at_the_same_instant_has_the_same_name_and_no_other_has() -> None:
    one, same, other = names_of([T0, T0, T0 + timedelta(microseconds=1)])
    assert one == same != other


def test_the_events_of_one_pass_are_a_microsecond_apart() -> None:
    written: list[dict[str, Any]] = []

    class Writer:
        async def create(self, _: object, __: str, body: dict[str, Any]) -> None:
            written.append(body)

    events = [KubernetesEvent("VersionStarting", f"version {n}") for n in range(9)]  # type: ignore[arg-type]
    asyncio.run(record(cast("Client", Writer()), model(), events, "operator-0", T0))
    by_name = sorted(written, key=lambda body: str(body["metadata"]["name"]))
    assert [body["note"] for body in by_name] == [event.message for event in events]
    times = [body["eventTime"] for body in by_name]
    assert times == sorted(set(times))
    assert times[0] == "2026-03-01T12:00:00.000000Z"
