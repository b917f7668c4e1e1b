"""The fault matrix of discovery: what a poll of the operator tells, names and forgets."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from faults import Asked, Fault
from faults_columns import Column, column
from slipway_operator.api.resource import ModelResource, parse
from slipway_operator.discovery.memory import Memory
from slipway_operator.discovery.poller import poll
from slipway_operator.model.source import Readiness, SourceVersion
from slipway_sync.stores import SourceError, Store
from small_exports import INDEX, contents

GRAPH = "saved_model.pb"
PREFIX = "good"
NEVER = threading.Event()
NUMBERS = count()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module", params=["s3", "gs", "az", "https"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Column]:
    with column(request.param, tmp_path_factory.mktemp(request.param)) as made:
        made.upload(f"{PREFIX}/3", contents())
        yield made


def model(source: str) -> ModelResource:
    metadata = {"namespace": "n", "name": "m", "uid": "u", "generation": 1, "resourceVersion": "1"}
    spec = {"source": {"uri": source, "settle": "0s", "pollInterval": "30s"}}
    return parse({"metadata": metadata, "spec": spec})


@dataclass
class Poller:
    """Polls as the operator does: one memory, time that goes on."""

    store: Store
    model: ModelResource
    memory: Memory
    now: datetime = NOW

    def poll(self) -> SourceVersion:
        self.now += timedelta(seconds=30)
        told = asyncio.run(poll(self.store, self.model, self.memory, self.now, 0.5))
        self.memory = told.memory
        (version,) = told.observation.versions
        return version


@pytest.fixture
def poller(store: Column) -> Iterator[Poller]:
    store.proxy.reset()
    if store.scheme == "https":
        # Its document changes, or the server would only say that it has not.
        store.put(f"{PREFIX}/no-version/{next(NUMBERS)}", b"")
    uri = store.source(PREFIX)
    yield Poller(store.store(PREFIX), model(uri), Memory())
    store.proxy.reset()


WHERE = {"listing": "good", "graph": GRAPH, "index": INDEX}


def harmed(store: Column, where: str) -> Callable[[Asked], bool]:
    if where == "listing":
        return store.lists
    return lambda asked: asked.path.endswith(WHERE[where]) and not store.lists(asked)


@dataclass(frozen=True)
class Row:
    fault: Fault
    reason: str
    says: str


FAULTS = {
    "403": Row(Fault(403), "AccessDenied", "access denied"),
    "404": Row(Fault(404), "NotFound", "not found|does not exist"),
    "429": Row(Fault(429), "Unavailable", "429"),
    "500": Row(Fault(500), "Unavailable", "answers 500"),
    "503": Row(Fault(503, {"Retry-After": "1"}), "Unavailable", "answers 503"),
    "never answered": Row(Fault(hold=NEVER), "Unavailable", "in time"),
    "stalls": Row(Fault(stall_after=20), "Unavailable", "in time"),
    "reset": Row(Fault(reset_after=20), "Unavailable", "closes connections early"),
    "truncated": Row(Fault(cut_after=20), "Unavailable", "closes connections early"),
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_and_the_next_poll_succeeds(
    store: Column, poller: Poller, where: str, name: str
) -> None:
    row = FAULTS[name]
    what = harmed(store, where)
    store.proxy.rule = lambda asked: row.fault if what(asked) else None
    if where != "listing" and name == "404":
        version = poller.poll()
        assert (version.readiness, version.object) == (Readiness.INCOMPLETE, WHERE[where])
    else:
        with pytest.raises(SourceError) as caught:
            poller.poll()
        assert caught.value.reason == row.reason
        assert WHERE[where] in str(caught.value)
        assert re.search(row.says, str(caught.value))
    store.proxy.rule = lambda _: None
    assert poller.poll().readiness is Readiness.COMPLETE


CONTENT = {
    "a damaged bit": Fault(flip=30),
    "another body": Fault(rewrite=lambda body: bytes(len(body))),
    "too short": Fault(keep=0),
    "too long": Fault(excess=b"more"),
}


@pytest.mark.parametrize("name", CONTENT)
def test_wrong_content_is_never_complete_and_the_next_polls_recover(
    store: Column, poller: Poller, name: str
) -> None:
    what = harmed(store, "index")
    store.proxy.rule = lambda asked: CONTENT[name] if what(asked) else None
    try:
        version = poller.poll()
    except SourceError as error:
        assert INDEX in str(error)  # noqa: PT017 (either of two answers is right)
    else:
        assert version.readiness in {Readiness.INCOMPLETE, Readiness.REJECTED}
        assert version.object == INDEX
    store.proxy.rule = lambda _: None
    for _ in range(40):
        if poller.poll().readiness is Readiness.COMPLETE:
            break
    assert poller.poll().readiness is Readiness.COMPLETE


def test_a_bucket_that_is_emptied_and_filled_again(store: Column) -> None:
    prefix = f"emptied{store.scheme}"
    store.proxy.reset()
    store.upload(f"{prefix}/3", contents())
    polls = Poller(store.store(prefix), model(store.source(prefix)), Memory())
    assert polls.poll().readiness is Readiness.COMPLETE
    for path in contents():
        store.delete(f"{prefix}/3/{path}")
    told = asyncio.run(poll(polls.store, polls.model, polls.memory, polls.now, 0.5))
    assert told.observation.versions == ()
    polls.memory = told.memory
    store.upload(f"{prefix}/3", contents(seed=1))
    assert polls.poll().readiness is Readiness.COMPLETE
