"""The fault matrix of the agent: every store, every fault, the real process, and recovery without a hand.

Each row harms the answers about one object, or the listings, for ever or for a few times. A fault
that stays ends the agent with a code, a reason and the object's name, and no version on the volume; the same command
succeeds once the fault is gone and asks for nothing again that was whole. One that passes is not noticed.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults import Asked, Fault, clean, on
from faults_columns import Agent, Column, column, fingerprint
from slipway_sync.exports import ExitCode
from small_exports import SHARD_1, contents, tree

GRAPH = "saved_model.pb"
PREFIX = "good"
NEVER = threading.Event()
FILES = contents(size=300_000)
SIZE = len(FILES[SHARD_1])
MODIFIED = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}


@pytest.fixture(scope="module", params=["s3", "gs", "az"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Column]:
    with column(request.param, tmp_path_factory.mktemp(request.param)) as made:
        made.upload(f"{PREFIX}/3", FILES)
        yield made


@pytest.fixture
def agent(store: Column, tmp_path: Path) -> Iterator[Agent]:
    store.proxy.reset()
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "file").write_text("not to be touched")
    made = Agent(store, PREFIX, tmp_path)
    asyncio.run(made.plan())
    store.proxy.reset()
    yield made
    store.proxy.reset()


def absolute(at: int, make: Callable[[int], Fault]) -> Callable[[Asked], Fault | None]:
    """A fault at one place of an object, wherever the range of a request begins."""

    def harm(asked: Asked) -> Fault | None:
        return make(max(0, at - asked.start))

    return harm


@dataclass(frozen=True)
class Row:
    """A fault that stays.

    Attributes:
        where: `listing`, `proof` (the graph is read to prove the export) or `transfer` (of a shard).
        says: What the sentence has to hold, a regular expression.
        object: Which object the outcome names.
    """

    where: str
    fault: Fault | Callable[[Asked], Fault | None]
    code: ExitCode
    says: str
    reason: str = ""
    object: str | None = None

    @property
    def named(self) -> str:
        if self.object is not None:
            return self.object
        return SHARD_1 if self.where == "transfer" else ""


def wanted(where: str, store: Column) -> Callable[[Asked], bool]:
    match where:
        case "listing":
            return store.lists
        case "proof":
            return lambda a: a.path.endswith(GRAPH) and not a.conditional and not store.lists(a)
        case _:
            return lambda a: a.path.endswith(SHARD_1) and a.conditional


def harming(row: Row, store: Column) -> Callable[[Asked], Fault | None]:
    what = wanted(row.where, store)
    fault = row.fault
    if isinstance(fault, Fault):
        return on(what, fault)
    return lambda asked: fault(asked) if what(asked) else None


LATER = {"Retry-After": "1"}
UNAVAILABLE = ExitCode.SOURCE_UNAVAILABLE
MOVED = ExitCode.REVISION_MOVED
DENIED = ExitCode.ACCESS_DENIED
REJECTED = ExitCode.REJECTED
PORTAL = b"<html>please log in, s3cr3t</html>"

STAYING = {
    "listing: 403": Row("listing", Fault(403), DENIED, r"access denied \(403"),
    "listing: 404": Row("listing", Fault(404), MOVED, "not found"),
    "listing: 429": Row("listing", Fault(429, LATER), UNAVAILABLE, "429"),
    "listing: 500": Row("listing", Fault(500), UNAVAILABLE, "answers 500"),
    "listing: 503": Row("listing", Fault(503, LATER), UNAVAILABLE, "answers 503"),
    "listing: never answered": Row("listing", Fault(hold=NEVER), UNAVAILABLE, "in time"),
    "listing: stalls": Row("listing", Fault(stall_after=70), UNAVAILABLE, "in time"),
    "listing: reset": Row("listing", Fault(reset_after=70), UNAVAILABLE, "breaks connections off"),
    "listing: truncated": Row("listing", Fault(cut_after=70), UNAVAILABLE, "breaks connections off"),
    "listing: too short": Row("listing", Fault(keep=70), UNAVAILABLE, "no listing"),
    "listing: a login page": Row("listing", Fault(200, body=PORTAL), UNAVAILABLE, "no listing"),
    "listing: redirected": Row(
        "listing", Fault(302, {"Location": "http://127.0.0.1:1/"}), ExitCode.USAGE, "redirects"
    ),
    "proof: 403": Row("proof", Fault(403), DENIED, GRAPH, object=GRAPH),
    "proof: 404": Row("proof", Fault(404), MOVED, GRAPH, object=GRAPH),
    "proof: 503": Row("proof", Fault(503), UNAVAILABLE, GRAPH, object=GRAPH),
    "proof: stalls": Row("proof", Fault(stall_after=10), UNAVAILABLE, GRAPH, object=GRAPH),
    "proof: truncated": Row("proof", Fault(cut_after=10), UNAVAILABLE, GRAPH, object=GRAPH),
    "proof: too short": Row("proof", Fault(keep=10), MOVED, GRAPH, object=GRAPH),
    "transfer: 403": Row("transfer", Fault(403), DENIED, r"access denied \(403"),
    "transfer: 404": Row("transfer", Fault(404), REJECTED, "the source lists", "ObjectDiffers"),
    "transfer: 412": Row("transfer", Fault(412), REJECTED, "the source lists", "ObjectDiffers"),
    "transfer: 416": Row("transfer", Fault(416), REJECTED, "the source lists", "ObjectDiffers"),
    "transfer: 500": Row("transfer", Fault(500), UNAVAILABLE, "answers 500"),
    "transfer: 503": Row("transfer", Fault(503, LATER), UNAVAILABLE, "answers 503"),
    "transfer: never answered": Row("transfer", Fault(hold=NEVER), UNAVAILABLE, "in time"),
    "transfer: stalls": Row(
        "transfer", absolute(100_000, lambda n: Fault(stall_after=n)), UNAVAILABLE, "in time"
    ),
    "transfer: trickles": Row("transfer", Fault(trickle=20), UNAVAILABLE, "in time"),
    "transfer: reset": Row(
        "transfer", absolute(100_000, lambda n: Fault(reset_after=n)), REJECTED,
        "breaks connections off", "Truncated",
    ),
    "transfer: truncated": Row(
        "transfer", absolute(100_000, lambda n: Fault(cut_after=n)), REJECTED,
        "breaks connections off", "Truncated",
    ),
    "transfer: too short": Row(
        "transfer", absolute(100_000, lambda n: Fault(keep=n)), REJECTED, "sent 0 of", "WrongSize"
    ),
    "transfer: too long": Row(
        "transfer", Fault(excess=b"more" * 1000), REJECTED, "more than", "WrongSize"
    ),
    "transfer: wrong ETag": Row(
        "transfer", Fault(headers={"ETag": '"abc"'}), REJECTED, "the source lists", "ObjectDiffers"
    ),
    "transfer: no ETag": Row(
        "transfer", Fault(headers={"ETag": ""}), REJECTED, "the source lists", "ObjectDiffers"
    ),
    "transfer: another size": Row(
        "transfer", Fault(headers={"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE + 5}"}), REJECTED,
        "the source lists", "ObjectDiffers",
    ),
    "transfer: another range": Row(
        "transfer", Fault(headers={"Content-Range": f"bytes 1-{SIZE}/{SIZE}"}), UNAVAILABLE,
        "another part of the object",
    ),
    "transfer: a login page": Row(
        "transfer", Fault(200, {"ETag": '"x"', **MODIFIED}, PORTAL), UNAVAILABLE, "otherwise than asked"
    ),
    "transfer: redirected": Row(
        "transfer", Fault(302, {"Location": "http://127.0.0.1:1/"}), ExitCode.USAGE, "redirects"
    ),
    "transfer: one damaged bit": Row(
        "transfer", absolute(1000, lambda n: Fault(flip=n)), REJECTED, "corrupt", "CorruptShard"
    ),
    "transfer: another body": Row(
        "transfer", Fault(rewrite=lambda body: bytes(len(body))), REJECTED, "corrupt", "CorruptShard"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STAYING)
def test_a_fault_that_stays_is_named_and_leaves_no_version(
    store: Column, agent: Agent, name: str
) -> None:
    row = STAYING[name]
    before = fingerprint(agent.home / "beside")
    store.proxy.rule = harming(row, store)
    ended = agent.run("--concurrency=1")
    assert ended.code == row.code, ended.said
    assert re.search(row.says, ended.outcome.message), ended.outcome
    assert ended.outcome.object == row.named
    assert row.named in ended.outcome.message
    assert ended.outcome.reason == (row.reason or row.code.reason)
    assert not agent.version.exists()
    around = fingerprint(agent.home, but=agent.volume)

    store.proxy.rule = clean
    store.proxy.asked = []
    again = agent.run("--concurrency=1")
    assert again.code == ExitCode.SYNCED, again.said
    assert tree(agent.version) == FILES
    if row.where == "transfer":
        # It goes on where it stood: what was whole is not asked for again.
        moved = {a.path.split("/3/")[1] for a in store.proxy.asked if a.conditional}
        assert moved == {SHARD_1}
    assert sorted(path.name for path in agent.volume.iterdir()) == [".slipway-3.json", "3"]
    (agent.home / "termination-log").write_text("")
    assert fingerprint(agent.home / "beside") == before
    assert around


PASSING = {
    "503 storm": (Fault(503, LATER), 4),
    "500 storm": (Fault(500), 4),
    "404 for a moment": (Fault(404), 1),
    "resets in mid-body": (Fault(reset_after=70_000), 3),
    "truncated bodies": (Fault(cut_after=70_000), 3),
    "short bodies": (Fault(keep=70_000), 1),
    "a long body": (Fault(excess=b"more"), 1),
    "a stall": (Fault(stall_after=70_000), 1),
    "a wrong ETag": (Fault(headers={"ETag": '"abc"'}), 1),
    "a damaged bit": (Fault(flip=50_000), 1),
    "a swapped body": (Fault(rewrite=lambda body: body[::-1]), 1),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_is_survived(store: Column, agent: Agent, name: str) -> None:
    fault, times = PASSING[name]
    shard = wanted("transfer", store)
    store.proxy.rule = on(shard, fault, times=times)
    ended = agent.run("--concurrency=2")
    assert ended.code == ExitCode.SYNCED, ended.said
    assert tree(agent.version) == FILES
    assert store.proxy.count(shard) > times
    starts = [asked.start for asked in store.proxy.asked if shard(asked)]
    if fault.reset_after or fault.cut_after or fault.stall_after or fault.keep:
        assert max(starts) > 0, "it goes on from where it stood"
