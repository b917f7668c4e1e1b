"""The fault matrix of the agent: every store, every fault, the real process, and recovery without a hand.

Each row harms the answers about one object, or the listings, for ever or for a few times. A fault
that stays ends the agent with a code, a reason and the object's name, and no version on the volume; the same command
succeeds once the fault is gone and asks for nothing again that was whole. One that passes is not noticed.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pytest

from faults import Asked, Fault, on
from faults_columns import Agent, Column, column, fingerprint
from slipway_sync.exports import ExitCode
from small_exports import INDEX, SHARD_1, contents, tree

Test = TypeVar("Test", bound=Callable[..., None])

KINDS = ("s3", "gs", "az", "https")
GRAPH = "saved_model.pb"
PREFIX = "good"
NEVER = threading.Event()
FILES = contents(size=300_000)
SIZE = len(FILES[SHARD_1])
MODIFIED = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}


@pytest.fixture(scope="module", params=KINDS)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Column]:
    with column(request.param, tmp_path_factory.mktemp(request.param)) as made:
        made.upload(f"{PREFIX}/3", FILES)
        yield made


@pytest.fixture(scope="module")
def within_limit(
    request: pytest.FixtureRequest, store: Column, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], None]]:
    """All rows of a store run at once, each behind a proxy of its own: they mostly wait."""
    runs = {
        item.callspec.params["name"]: item.function.run
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and hasattr(item.function, "run")
        and item.callspec.params.get("store") == store.scheme
    }

    def run(name: str) -> None:
        with store.own_proxy() as own:
            agent = Agent(own, PREFIX, tmp_path_factory.mktemp("row"))
            asyncio.run(agent.plan())
            own.proxy.reset()
            runs[name](own, agent, name)

    with ThreadPoolExecutor(5) as pool:
        futures = {name: pool.submit(run, name) for name in runs}
        yield lambda name: futures[name].result()


def as_row(run: Callable[[Column, Agent, str], None]) -> Callable[[Test], Test]:
    """Mark the test of a row with what runs beside the others'."""

    def mark(test: Test) -> Test:
        test.run = run  # type: ignore[attr-defined]
        return test

    return mark


def absolute(at: int, make: Callable[[int], Fault]) -> Callable[[Asked], Fault | None]:
    """A fault at one place of an object, wherever the range of a request begins."""

    def harm(asked: Asked) -> Fault | None:
        return make(max(0, at - asked.start))

    return harm


def emptied(asked: Asked) -> Fault:
    """A listing without objects."""
    if asked.path.endswith("index.json"):
        return Fault(200, body=b'{"formatVersion": 1, "versions": []}')
    azure = b"<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>"
    return Fault(200, body=azure if "comp" in asked.query else b"<ListBucketResult/>")


def grown(asked: Asked) -> Fault:
    """The range that was asked for, of an object that has become longer."""
    told = asked.headers["range"].replace("=", " ")
    return Fault(headers={"Content-Range": f"{told}/{SIZE + 5}"})


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
        case "index":
            return lambda a: a.path.endswith(INDEX) and not a.conditional and not store.lists(a)
        case _:
            return lambda a: a.path.endswith(SHARD_1) and store.transfers(a)


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
DIFFERS = "the source lists|does not match index.json"
PORTAL = b"<html><br>please log in, s3cr3t"

STAYING = {
    "listing: 403": Row("listing", Fault(403), DENIED, r"access denied \(403"),
    "listing: 404": Row("listing", Fault(404), MOVED, "not found"),
    "listing: 429": Row("listing", Fault(429, LATER), UNAVAILABLE, "429"),
    "listing: 500": Row("listing", Fault(500), UNAVAILABLE, "answers 500"),
    "listing: 503": Row("listing", Fault(503, LATER), UNAVAILABLE, "answers 503"),
    "listing: never answered": Row("listing", Fault(hold=NEVER), UNAVAILABLE, "in time"),
    "listing: stalls": Row("listing", Fault(stall_after=70), UNAVAILABLE, "in time"),
    "listing: reset": Row("listing", Fault(reset_after=70), UNAVAILABLE, "closes connections early"),
    "listing: truncated": Row("listing", Fault(cut_after=70), UNAVAILABLE, "closes connections early"),
    "listing: too short": Row("listing", Fault(keep=70), UNAVAILABLE, "not a listing"),
    "listing: a login page": Row("listing", Fault(200, body=PORTAL), UNAVAILABLE, "not a listing"),
    "listing: empty": Row("listing", emptied, MOVED, "empty now"),
    "listing: redirected": Row(
        "listing", Fault(302, {"Location": "http://127.0.0.1:1/"}), ExitCode.USAGE, "redirects"
    ),
    "proof: 403": Row("proof", Fault(403), DENIED, GRAPH, object=GRAPH),
    "proof: 404": Row("proof", Fault(404), REJECTED, GRAPH, "ObjectDiffers", GRAPH),
    "proof: a damaged bit": Row("index", Fault(flip=30), REJECTED, INDEX, "UnreadableIndex", INDEX),
    "proof: 503": Row("proof", Fault(503), UNAVAILABLE, GRAPH, object=GRAPH),
    "proof: stalls": Row("proof", Fault(stall_after=10), UNAVAILABLE, GRAPH, object=GRAPH),
    "proof: truncated": Row("proof", Fault(cut_after=10), UNAVAILABLE, GRAPH, object=GRAPH),
    "proof: too short": Row("proof", absolute(10, lambda n: Fault(keep=n)), REJECTED, GRAPH, "ObjectDiffers", GRAPH),
    "proof: too long": Row("proof", Fault(excess=b"more"), REJECTED, GRAPH, "WrongSize", GRAPH),
    "transfer: 403": Row("transfer", Fault(403), DENIED, r"access denied \(403"),
    "transfer: 404": Row("transfer", Fault(404), REJECTED, DIFFERS, "ObjectDiffers"),
    "transfer: 412": Row("transfer", Fault(412), REJECTED, DIFFERS, "ObjectDiffers"),
    "transfer: 416": Row("transfer", Fault(416), REJECTED, DIFFERS, "ObjectDiffers"),
    "transfer: 500": Row("transfer", Fault(500), UNAVAILABLE, "answers 500"),
    "transfer: 503": Row("transfer", Fault(503, LATER), UNAVAILABLE, "answers 503"),
    "transfer: never answered": Row("transfer", Fault(hold=NEVER), UNAVAILABLE, "in time"),
    "transfer: stalls": Row(
        "transfer", absolute(100_000, lambda n: Fault(stall_after=n)), UNAVAILABLE, "in time"
    ),
    "transfer: trickles": Row("transfer", Fault(trickle=20), UNAVAILABLE, "in time"),
    "transfer: reset": Row(
        "transfer", absolute(100_000, lambda n: Fault(reset_after=n)), REJECTED,
        "closes connections early", "Truncated",
    ),
    "transfer: truncated": Row(
        "transfer", absolute(100_000, lambda n: Fault(cut_after=n)), REJECTED,
        "closes connections early", "Truncated",
    ),
    "transfer: too short": Row(
        "transfer", absolute(100_000, lambda n: Fault(keep=n)), REJECTED, "sent 0 of", "WrongSize"
    ),
    "transfer: too long": Row(
        "transfer", Fault(excess=b"more" * 1000), REJECTED, "more than", "WrongSize"
    ),
    "transfer: wrong ETag": Row(
        "transfer", Fault(headers={"ETag": '"abc"'}), REJECTED, DIFFERS, "ObjectDiffers"
    ),
    "transfer: no ETag": Row(
        "transfer", Fault(headers={"ETag": ""}), REJECTED, DIFFERS, "ObjectDiffers"
    ),
    "transfer: another size": Row(
        "transfer", grown, REJECTED,
        DIFFERS, "ObjectDiffers",
    ),
    "transfer: another range": Row(
        "transfer", Fault(headers={"Content-Range": f"bytes 1-{SIZE}/{SIZE}"}), UNAVAILABLE,
        "a different range of the object",
    ),
    "transfer: a login page": Row(
        "transfer", Fault(200, {"ETag": '"x"', **MODIFIED}, PORTAL), UNAVAILABLE, "does not answer as expected"
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


OVER_HTTPS: dict[str, Row | None] = {
    "listing: 404": Row("listing", Fault(404), MOVED, r"index\.json does not exist"),
    "listing: too short": Row("listing", Fault(keep=70), ExitCode.USAGE, "not JSON"),
    "listing: a login page": Row(
        "listing", Fault(200, body=PORTAL), ExitCode.USAGE, r"index\.json: it is not JSON"
    ),
    "transfer: 412": Row("transfer", Fault(412), ExitCode.USAGE, r"refuses the request \(412\)"),
    "transfer: too long": None,
    "transfer: wrong ETag": None,
    "transfer: no ETag": None,
    "transfer: another range": None,
    "transfer: a login page": Row(
        "transfer", Fault(200, MODIFIED, PORTAL), REJECTED, "bytes, not 300000", "ObjectDiffers"
    ),
}
"""Where a static server differs; None: its files are told by their SHA-256, and nothing is amiss."""


def row_of(kind: str, name: str) -> Row | None:
    return OVER_HTTPS.get(name, STAYING[name]) if kind == "https" else STAYING[name]


def stays(store: Column, agent: Agent, name: str) -> None:
    row = row_of(store.scheme, name)
    beside = agent.home / "beside"
    beside.mkdir()
    (beside / "file").write_text("not to be touched")
    before = fingerprint(beside)
    store.proxy.rule = harming(row or STAYING[name], store)
    within_limit = agent.run("--concurrency=1")
    if row is None:
        assert within_limit.code == ExitCode.SYNCED, within_limit.said
        assert tree(agent.version) == FILES
        return
    assert within_limit.code == row.code, within_limit.said
    assert re.search(row.says, within_limit.outcome.message), within_limit.outcome
    assert within_limit.outcome.object == row.named
    assert row.named in within_limit.outcome.message
    assert within_limit.outcome.reason == (row.reason or row.code.reason)
    assert not agent.version.exists()

    store.proxy.reset()
    again = agent.run("--concurrency=1")
    assert again.code == ExitCode.SYNCED, again.said
    assert tree(agent.version) == FILES
    if row.where == "transfer":
        # It goes on where it stood: what was whole is not asked for again.
        moved = {a.path.split("/3/")[1] for a in store.proxy.asked if store.transfers(a)}
        assert moved - store.proof_reads == {SHARD_1}
    assert sorted(path.name for path in agent.volume.iterdir()) == [".slipway-3.json", "3"]
    assert sorted(path.name for path in agent.home.iterdir()) == [
        "beside", *store.own_files, "secret", "termination-log", "volume",
    ]  # fmt: skip
    assert fingerprint(beside) == before


@pytest.mark.parametrize("name", STAYING)
@as_row(stays)
def test_a_fault_that_stays_is_named_and_leaves_no_version(
    within_limit: Callable[[str], None], name: str
) -> None:
    within_limit(name)


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


UNNOTICED = {("https", "a wrong ETag"), ("https", "a long body")}
"""The files of a static server are told by their SHA-256, and no more is taken than was asked for."""


def passes(store: Column, agent: Agent, name: str) -> None:
    fault, times = PASSING[name]
    shard = wanted("transfer", store)
    store.proxy.rule = on(shard, fault, times=times)
    within_limit = agent.run("--concurrency=2")
    assert within_limit.code == ExitCode.SYNCED, within_limit.said
    assert tree(agent.version) == FILES
    if (store.scheme, name) not in UNNOTICED:
        assert store.proxy.count(shard) > times
    starts = [asked.start for asked in store.proxy.asked if shard(asked)]
    if fault.reset_after or fault.cut_after or fault.stall_after:
        assert max(starts) > 0, "it goes on from where it stood"


@pytest.mark.parametrize("name", PASSING)
@as_row(passes)
def test_a_fault_that_passes_is_survived(within_limit: Callable[[str], None], name: str) -> None:
    within_limit(name)
