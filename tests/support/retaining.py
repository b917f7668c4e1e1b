"""Retention beside a simulated fleet: a store of objects, passes that may be killed, and what must hold.

The decision, the guard and the deletion are the real ones; the store is a dictionary that judges each
deletion at the moment it happens.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Final, cast

from fleet import Export, Fleet
from histories import EVENTS, Broken, Event, History
from slipway_operator.api.conditions import Reason
from slipway_operator.api.status import DoomedVersion, ModelStatus
from slipway_operator.discovery.old_exports import ExportChangedError, ExportDeletion, old_export
from slipway_operator.model.actions import KubernetesEvent
from slipway_operator.model.retention import OldExport, Survey
from slipway_operator.model.source import Readiness, SourceVersion
from slipway_operator.planning.retention.decision import (
    after,
    concerns,
    decide,
    key_of,
    protected,
    quiet,
)
from slipway_operator.planning.retention.report import NOTICE
from slipway_operator.planning.versions.desired import desired_versions
from slipway_sync.exports import GRAPHS, Listing, ObjectInfo, revision
from slipway_sync.stores import ErasableStore, SourceError

_FILES: Final = (
    "assets/a",
    "saved_model.pb",
    "variables/variables.data",
    "variables/variables.index",
)


class Killed(BaseException):
    """The operator's process ends here."""


@dataclass
class Objects:
    """The source as a store; it belongs to a `Retention`, which judges what is deleted."""

    fleet: Fleet
    judge: Callable[[int, str], None]
    contents: dict[int, tuple[Export, dict[str, ObjectInfo]]] = field(default_factory=dict)
    lives: int | None = None
    """Deletions until the operator is killed; None for never."""

    def of(self, version: int) -> dict[str, ObjectInfo]:
        """The objects of an export as it is now."""
        export = self.fleet.exports[version]
        known = self.contents.get(version)
        if known is None or known[0] is not export:
            names = _FILES if export.complete else _FILES[:1]
            made = {
                name: ObjectInfo(name, 3, f"{export.revision}{name}", self.fleet.now)
                for name in names
            }
            known = self.contents[version] = (export, made)
        return known[1]

    async def listing(self, directory: str) -> Listing:
        if self.fleet.store_down:
            raise SourceError("Unavailable", "no answer")
        version = int(directory)
        if version not in self.fleet.listed:
            return ()
        return tuple(sorted(self.of(version).values(), key=lambda item: item.path))

    async def delete(self, directory: str, paths: Sequence[str]) -> None:
        version = int(directory)
        for path in paths:
            if self.lives is not None:
                self.lives -= 1
                if self.lives < 0:
                    raise Killed
            if self.fleet.store_down:
                raise SourceError("AccessDenied", "no")
            self.judge(version, path)
            left = self.of(version)
            del left[path]
            self.fleet._count += 1
            if left:
                half = Export(f"{version:02x}{self.fleet._count:062x}", complete=False)
                self.fleet.exports[version] = half
                self.contents[version] = (half, left)
            else:
                del self.fleet.exports[version]

    async def delete_folders(self, directory: str) -> None:
        pass


class Retention:
    """Passes over one fleet."""

    def __init__(self, history: History, keep: int, *, dry_run: bool = False) -> None:
        self.history = history
        self.fleet = history.fleet
        self.fleet.edit(retention={"keep": keep, "dryRun": dry_run})
        self.objects = Objects(self.fleet, self._judge)
        self.said: dict[tuple[int, str], tuple[datetime, int]] = {}
        """When a version was first named with its content, and after how many polls."""
        self.polls = 0
        self.events: list[KubernetesEvent] = []
        self.begun: dict[int, str] = {}
        """The content of exports that are being deleted, as it was at first."""
        self.key = key_of(self.fleet.model.spec)

    def play(self, events: list[Event]) -> None:
        for name, number in events:
            EVENTS_AND_RETENTION[name](self, number)
            self.history.check_instant()

    def one_pass(self, lives: int | None = None) -> None:
        """A poll and what follows it; the operator dies after so many deletions of objects."""
        fleet = self.fleet
        fleet.poll()
        self.polls += 1
        self.objects.lives = lives
        try:
            asyncio.run(self._pass())
        except Killed:
            fleet.restart_operator()

    async def _pass(self) -> None:
        fleet = self.fleet
        model = fleet.model
        if key_of(model.spec) != self.key:
            self.key = key_of(model.spec)
            self.said.clear()
        if not concerns(model, fleet.source):
            if fleet.source.polled and not fleet.source.error_reason:
                self._remember(quiet(model))
            return
        decision = decide(model, fleet.source, self.survey(), protected(fleet.observe()), fleet.now)
        self._remember(decision.status)
        for doomed in decision.status.versions if decision.status else ():
            if doomed.state == "WouldDelete":
                self.said.setdefault((doomed.version, doomed.revision), (fleet.now, self.polls))
        self.events += decision.events
        status = decision.status
        for doomed in decision.delete:
            if not protected(fleet.observe()).allows(doomed.version):
                self.history.broken(f"retention wants to delete what is protected: {doomed}")
            failure = await self._failure(doomed)
            assert status is not None
            status, events = after(status, None if failure else doomed, failure, fleet.now)
            self._remember(status)
            self.events += events
            if failure:
                break

    async def _failure(self, doomed: DoomedVersion) -> tuple[Reason, str] | None:
        try:
            await ExportDeletion(cast("ErasableStore", self.objects), doomed).run()
        except ExportChangedError as error:
            return Reason.LISTING_DOUBTFUL, str(error)
        except SourceError as error:
            return Reason.RETENTION_DENIED, str(error)
        return None

    def survey(self) -> Survey:
        """What the real one would find."""
        fleet = self.fleet
        if fleet.source.error_reason or not fleet.source.polled:
            return Survey((), frozenset(v.number for v in fleet.source.versions))
        numbers = sorted(fleet.listed, reverse=True)
        assert fleet.model.spec.retention is not None
        keep = fleet.model.spec.retention.keep
        exports: list[OldExport] = []
        complete = 0
        for number in numbers:
            export = fleet.exports[number]
            if complete < keep:
                state = Readiness.COMPLETE if export.complete else Readiness.INCOMPLETE
                exports.append(OldExport(number, str(number), export.revision, 0, 0, None, state))
                complete += export.complete
            else:
                listing = asyncio_free(self.objects.listing(str(number)))
                seen = SourceVersion(number, str(number), "", 0, Readiness.UNSEEN)
                exports.append(old_export(seen, listing))
        return Survey(tuple(exports), frozenset(numbers))

    def _remember(self, retention: object) -> None:
        whole = self.fleet.status.model_copy(update={"retention": retention})
        self.fleet.status = ModelStatus.model_validate(whole.as_manifest())

    def _judge(self, version: int, path: str) -> None:
        """An object is about to go: may it?"""
        fleet = self.fleet
        spec = fleet.model.spec
        broken = self.history.broken
        retention = spec.retention
        if retention is None or retention.dry_run or spec.paused:
            broken(f"retention deletes {version}/{path} although it is off")
            return
        desired = desired_versions(fleet.observe())
        wanted = {s.version for s in desired.servables} | set(spec.labels.values())
        wanted |= set(spec.versions.specific or ())
        serving = {int(pod.labels["slipway.dev/version"]) for pod in fleet.pods.values()}
        if version in wanted | serving:
            broken(f"retention deletes {version}/{path}, which serves or is wanted")
        if not desired.servables or version > min(s.version for s in desired.servables):
            broken(f"retention deletes {version}/{path}, newer than what serves")
        higher = [n for n in fleet.listed if n > version and fleet.exports[n].complete]
        if len(higher) < retention.keep:
            broken(f"retention deletes {version}/{path}, one of the {retention.keep} highest")
        held = self.objects.of(version)
        if version not in self.begun or fleet.exports[version].complete:
            self.begun[version] = revision(tuple(held.values()))
            if path not in GRAPHS:
                broken(f"retention deletes {version}/{path} before its graph")
        named = self.said.get((version, self.begun[version]))
        if named is None:
            broken(f"retention deletes {version}/{path} unannounced")
        elif fleet.now - named[0] < NOTICE or self.polls <= named[1]:
            broken(f"retention deletes {version}/{path} {fleet.now - named[0]} after its notice")


def asyncio_free(awaitable: object) -> Listing:
    """Run what never waits."""
    try:
        awaitable.send(None)  # type: ignore[attr-defined]
    except StopIteration as end:
        found: Listing = end.value
        return found
    raise Broken("the store of a simulation waits")


def _history(name: str) -> Callable[[Retention, int], None]:
    return lambda world, number: EVENTS[name](world.history, number)


def _wait(world: Retention, number: int) -> None:
    world.fleet.now += timedelta(seconds=number % 90)


def _labels(world: Retention, number: int) -> None:
    version = number % 7
    world.fleet.edit(labels={"stable": version} if version else {})


def _keep(world: Retention, number: int) -> None:
    world.fleet.edit(retention={"keep": 1 + number % 3, "dryRun": number % 5 == 0})


def _pass(world: Retention, _: int) -> None:
    world.one_pass()


def _killed_pass(world: Retention, number: int) -> None:
    world.one_pass(number % 6)


def _more(world: Retention, number: int) -> None:
    """Exports keep coming."""
    choice = Random(number)  # noqa: S311 (a test's choices)
    for _ in range(choice.randrange(1, 4)):
        world.fleet.upload(max(world.fleet.exports, default=0) + 1, complete=number % 7 != 0)


EVENTS_AND_RETENTION: Final[Mapping[str, Callable[[Retention, int], None]]] = {
    **{name: _history(name) for name in EVENTS},
    "wait": _wait,
    "labels": _labels,
    "keep": _keep,
    "pass": _pass,
    "killed pass": _killed_pass,
    "more": _more,
}
OFTEN: Final = (
    *EVENTS_AND_RETENTION, *(3 * ("wait", "pass", "rest")), "killed pass", "killed pass", "more", "more",
)  # fmt: skip
