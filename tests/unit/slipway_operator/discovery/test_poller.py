"""One source, polled again and again, with a clock of its own."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from paged_stores import PagedStore, item
from signed_exports import OTHER_KEY, OTHER_PUBLIC, PUBLIC, signed
from slipway_operator.api.resource import parse
from slipway_operator.discovery.poll_state import PollState
from slipway_operator.discovery.poller import Poll, poll
from slipway_operator.model.source import Readiness, SourceVersion
from small_exports import INDEX, contents, graph

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTLE = 5.0


@dataclass
class World:
    """A bucket that people upload to, and what the poller has seen of it."""

    spec: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    keys: tuple[bytes, ...] = ()
    store: PagedStore = field(default_factory=PagedStore)
    memory: PollState = field(default_factory=PollState)
    now: float = 0.0

    def put(self, files: Mapping[str, bytes], directory: str = "1") -> None:
        before = {o.path: o for o in self.store.objects.get(directory, ())}
        uploaded = PagedStore.of(dict(files), directory)
        after = before | {o.path: o for o in uploaded.objects[directory]}
        self.store.objects[directory] = [after[path] for path in sorted(after)]
        self.store.contents |= uploaded.contents

    def poll(self, after: float = 0.0) -> Poll:
        self.now += after
        model = parse(
            {
                "metadata": {"name": "m", "namespace": "n", "uid": "u"},
                "spec": {
                    "source": {"uri": "s3://models/m", "settle": f"{SETTLE:.0f}s"}
                    | self.spec.get("source", {}),
                    "versions": self.spec.get("versions", {"latest": 1}),
                    "serving": self.spec.get("serving", {}),
                },
                "status": self.status,
            }
        )
        now = T0 + timedelta(seconds=self.now)
        outcome = asyncio.run(poll(self.store, model, self.memory, now, 0.5, self.keys))
        self.memory = outcome.state
        return outcome

    def version(self, after: float = 0.0) -> SourceVersion:
        return self.poll(after).observation.versions[-1]


def state(version: SourceVersion) -> tuple[Readiness, str | None]:
    return version.readiness, version.reason


def test_the_graph_first_then_a_long_pause_then_the_variables() -> None:
    """Upload order does not matter: a saver says that variables must come."""
    world = World()
    files = contents()
    world.put({"saved_model.pb": files["saved_model.pb"]})
    assert world.version().readiness is Readiness.SETTLING
    for _ in range(3):
        found = world.version(after=30)
        assert state(found) == (Readiness.INCOMPLETE, "MissingVariables")
        assert found.object == INDEX
    world.put({path: files[path] for path in files if path != INDEX})
    assert world.version(after=30).readiness is Readiness.SETTLING
    assert state(world.version(after=6)) == (Readiness.INCOMPLETE, "MissingVariables")
    world.put(files)
    assert world.version(after=30).readiness is Readiness.SETTLING
    assert state(world.version(after=4.9)) == (Readiness.SETTLING, None)
    assert state(world.version(after=0.1)) == (Readiness.COMPLETE, None)


def test_an_unchanged_source_costs_one_listing_of_children_and_one_of_each_version() -> None:
    world = World()
    files = contents()
    world.put(files)
    # An empty file and the marker of a folder: only asking tells them apart, and only once.
    world.store.objects["1"] = [*world.store.objects["1"], item("zzz/", 0)]
    world.poll()
    world.store.asked.clear()
    assert world.version(after=3).readiness is Readiness.SETTLING
    assert world.store.asked == ["CHILDREN", "LIST 1"]
    assert world.version(after=3).readiness is Readiness.COMPLETE
    world.store.asked.clear()
    for _ in range(3):
        assert world.version(after=30).readiness is Readiness.COMPLETE
    assert world.store.asked == ["CHILDREN", "LIST 1"] * 3


def test_a_proof_reads_each_file_once() -> None:
    world = World(keys=(PUBLIC,))
    world.put(signed(contents()))
    world.poll()
    world.store.asked.clear()
    assert world.version(after=6).readiness is Readiness.COMPLETE
    assert [asked for asked in world.store.asked if asked.startswith("GET")] == [
        "GET 1/saved_model.pb",
        f"GET 1/{INDEX}",
        "GET 1/SHA256SUMS",
        "GET 1/SHA256SUMS.sig",
    ]


def test_what_was_rejected_is_judged_anew_when_its_listing_changes() -> None:
    """The manifest or its signature may come late, or be put right."""
    world = World(keys=(PUBLIC,))
    good = signed(contents())
    world.put(contents())
    world.poll()
    assert state(world.version(after=6)) == (Readiness.REJECTED, "Unsigned")
    world.put({"SHA256SUMS": good["SHA256SUMS"]})
    world.poll(after=30)
    assert state(world.version(after=6)) == (Readiness.REJECTED, "Unsigned")
    world.put({"SHA256SUMS.sig": OTHER_KEY.sign(good["SHA256SUMS"])})
    world.poll(after=30)
    assert state(world.version(after=6)) == (Readiness.REJECTED, "WrongSignature")
    world.put(good)
    world.poll(after=30)
    assert state(world.version(after=6)) == (Readiness.COMPLETE, None)


def test_other_keys_and_other_tags_ask_for_another_proof_of_the_same_listing() -> None:
    world = World(keys=(PUBLIC,))
    world.put(signed(contents()))
    world.poll()
    assert world.version(after=6).readiness is Readiness.COMPLETE
    world.keys = (OTHER_PUBLIC,)
    assert state(world.version(after=30)) == (Readiness.REJECTED, "WrongSignature")
    world.keys = (OTHER_PUBLIC, PUBLIC)
    assert state(world.version(after=30)) == (Readiness.COMPLETE, None)
    world.spec["serving"] = {"tags": ["train"]}
    found = world.version(after=30)
    assert state(found) == (Readiness.REJECTED, "MissingTags")
    assert found.message == (
        "saved_model.pb has no graph with the tags train: it has [serve] and []"
    )
    world.spec["serving"] = {"tags": ["serve"]}
    assert world.version(after=30).readiness is Readiness.COMPLETE


def test_the_marker_is_waited_for() -> None:
    world = World(spec={"source": {"completionMarker": "_DONE"}})
    world.put(contents())
    world.poll()
    assert state(world.version(after=6)) == (Readiness.INCOMPLETE, "MissingMarker")
    world.put({"_DONE": b""})
    world.poll(after=30)
    assert world.version(after=6).readiness is Readiness.COMPLETE


def test_what_moved_while_it_was_read_is_read_again_at_the_next_poll() -> None:
    world = World()
    world.put(contents())
    world.poll()
    del world.store.contents["1/saved_model.pb"]
    outcome = world.poll(after=6)
    (found,) = outcome.observation.versions
    assert state(found) == (Readiness.INCOMPLETE, "Moved")
    assert outcome.again > timedelta(seconds=1), "not at once, and again and again"
    world.store.contents["1/saved_model.pb"] = contents()["saved_model.pb"]
    assert world.version(after=30).readiness is Readiness.COMPLETE


def test_what_serves_is_trusted_after_a_restart_unless_more_is_asked_for_now() -> None:
    world = World()
    world.put({"saved_model.pb": graph()})
    revision = world.version().revision
    world.status = {
        "versions": [
            {
                "version": 1,
                "revision": revision,
                "state": "Available",
                "availableKey": "12345678",
                "since": T0.isoformat(),
            }
        ]
    }
    world.memory = PollState()
    assert world.version().readiness is Readiness.COMPLETE
    world.keys, world.memory = (PUBLIC,), PollState()
    world.poll()
    assert state(world.version(after=6)) == (Readiness.INCOMPLETE, "MissingVariables")


def test_a_version_of_too_many_objects_leaves_the_others_alone(monkeypatch: Any) -> None:
    from slipway_sync.exports.completeness import listing_summary as survey

    monkeypatch.setattr(survey, "MOST", 100)
    world = World()
    world.put(contents(), "1")
    world.store.objects["2"] = [item(f"assets/{n:06d}") for n in range(3000)]
    world.poll()
    outcome = world.poll(after=6)
    one, two = outcome.observation.versions
    assert one.readiness is Readiness.COMPLETE
    assert state(two) == (Readiness.REJECTED, "TooManyObjects")
