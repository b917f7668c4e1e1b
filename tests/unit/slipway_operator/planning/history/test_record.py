"""What `status.history` tells of transitions."""

from datetime import timedelta
from typing import Any

import pytest

from fleet import BROKEN_IMAGE, Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.status import ModelStatus, TransitionRecord
from slipway_operator.planning.history.record import MAX_RECORDS

FRUGAL = {"policy": "ResourcePreserving"}


def told(fleet: Fleet) -> list[tuple[str, str, str, str]]:
    """From, to, cause and outcome of each entry, oldest first."""
    return [
        (r.from_, r.to, r.cause.value, r.outcome.value if r.outcome else "")
        for r in reversed(fleet.status.history)
    ]


def newest(fleet: Fleet) -> TransitionRecord:
    return fleet.status.history[0]


FIRST = ("", "3", "NewExport", "Completed")


@pytest.mark.parametrize("transition", [{}, FRUGAL, {"maxSurge": "100%"}])
def test_a_new_export_is_one_entry(transition: dict[str, Any]) -> None:
    fleet = serving(transition=transition)
    assert told(fleet) == [FIRST]
    fleet.upload(4)
    run(fleet, 2)
    assert told(fleet)[1:] == [("3", "4", "NewExport", "")]
    fleet.now += timedelta(seconds=42)
    run(fleet)
    assert told(fleet) == [FIRST, ("3", "4", "NewExport", "Completed")]
    entry = newest(fleet)
    assert (entry.duration, entry.digest, entry.outage_seconds) == ("42s", "sha256:1", 0)
    assert entry.ended_at is not None


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_version_that_fails_is_one_entry_that_ends_when_what_served_is_back(
    replicas: int,
) -> None:
    fleet = serving(transition=FRUGAL, serving={"replicas": replicas})
    fleet.upload(4, Behaviour.CORRUPT)
    while newest(fleet).to != "4" or not newest(fleet).outcome:
        run(fleet, 1)
    assert newest(fleet).ended_at is None
    run(fleet)
    assert told(fleet) == [FIRST, ("3", "4", "NewExport", "RolledBack")]
    assert newest(fleet).reason == "LoadFailed"
    assert "cannot be parsed" in newest(fleet).message
    assert newest(fleet).ended_at is not None
    fleet.upload(5)
    assert told(run(fleet))[2:] == [("3", "5", "NewExport", "Completed")]


def test_an_outage_is_measured() -> None:
    fleet = serving(transition=FRUGAL, serving={"replicas": 1})
    fleet.upload(4)
    while fleet.in_rotation():
        run(fleet, 1)
    fleet.operate()
    assert newest(fleet).gap_since is not None
    fleet.now += timedelta(seconds=17)
    run(fleet)
    assert (newest(fleet).outage_seconds, newest(fleet).gap_since) == (17, None)
    assert told(fleet)[1:] == [("3", "4", "NewExport", "Completed")]


def test_a_newer_version_in_mid_transition_takes_the_place_of_the_target() -> None:
    fleet = serving()
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    fleet.upload(5)
    run(fleet)
    assert told(fleet)[1:] == [
        ("3", "4", "NewExport", "Superseded"),
        ("3", "5", "NewExport", "Completed"),
    ]


def test_each_verb_is_a_cause_and_the_one_who_asked_is_named() -> None:
    fleet = serving()
    fleet.upload(4)
    run(fleet)
    fleet.annotate("slipway.dev/rollback", "3", by="kubectl-annotate")
    run(fleet)
    assert newest(fleet).by == "kubectl-annotate"
    fleet.annotate("slipway.dev/rollback", None)
    run(fleet)
    fleet.upload(5, Behaviour.HANGING)
    run(fleet)
    fleet.annotate("slipway.dev/abort", "5", by="kubectl-annotate")
    run(fleet)
    fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
    fleet.annotate("slipway.dev/retry", "5", by="argocd-controller")
    run(fleet)
    assert newest(fleet).by == "argocd-controller"
    assert told(fleet) == [
        FIRST,
        ("3", "4", "NewExport", "Completed"),
        ("4", "3", "Rollback", "Completed"),
        ("3", "4", "RollbackLifted", "Completed"),
        ("4", "5", "NewExport", "Aborted"),
        ("4", "5", "Retry", "Completed"),
    ]


def test_an_edit_of_the_spec_is_a_transition_to_the_same_version() -> None:
    fleet = serving()
    fleet.edit(serving={"env": [{"name": "A", "value": "b"}]})
    run(fleet)
    assert told(fleet) == [FIRST, ("3", "3", "SpecChange", "Completed")]
    fleet.edit(serving={"image": BROKEN_IMAGE})
    run(fleet)
    assert told(fleet)[2:] == [("3", "3", "SpecChange", "RolledBack")]
    fleet.edit(serving={"image": ""})
    run(fleet)
    assert len(fleet.status.history) == 3, "nothing was moved"


def test_an_export_that_disappears_before_it_served_is_left_for_what_is_there() -> None:
    fleet = serving()
    fleet.upload(4, Behaviour.HANGING)
    run(fleet)
    fleet.hidden = {4}
    run(fleet)
    assert told(fleet)[1:] == [("3", "4", "NewExport", "Superseded")]
    assert newest(fleet).ended_at is not None


def test_what_is_no_transition_is_no_entry() -> None:
    fleet = serving(serving={"replicas": 2})
    for change in (
        lambda: fleet.edit(serving={"replicas": 3}),
        lambda: fleet.edit(serving={"replicas": 0}),
        lambda: fleet.edit(serving={"replicas": 2}),
        lambda: fleet.crash(next(iter(fleet.pods.values()))),
        lambda: fleet.take(next(iter(fleet.pods.values()))),
        lambda: fleet.services.pop("digits"),
        lambda: fleet.slices.pop("digits"),
        fleet.restart_operator,
        lambda: fleet.edit(labels={"stable": 3}),
    ):
        change()
        run(fleet)
        assert told(fleet) == [FIRST]


def test_the_last_ten_are_kept() -> None:
    fleet = serving()
    for version in range(4, 16):
        fleet.upload(version)
        run(fleet, 25)
    assert [entry.to for entry in fleet.status.history] == [str(n) for n in range(15, 5, -1)]
    assert len(fleet.status.history) == MAX_RECORDS


def test_a_model_that_an_earlier_release_has_written_gets_no_entry() -> None:
    fleet = serving()
    fleet.status = ModelStatus.model_validate(fleet.status.as_manifest() | {"history": []})
    planned = fleet.plan()
    assert (planned.status, planned.actions) == (fleet.status, ())


KILLED = {
    "new": lambda fleet: fleet.upload(4),
    "fails": lambda fleet: fleet.upload(4, Behaviour.CORRUPT),
    "rollback": lambda fleet: fleet.annotate("slipway.dev/rollback", "2"),
    "spec": lambda fleet: fleet.edit(serving={"env": [{"name": "A", "value": "b"}]}),
}
ASKED = {
    "abort": ("slipway.dev/abort", Behaviour.HANGING),
    "retry": ("slipway.dev/retry", Behaviour.CORRUPT),
}


def world(policy: str) -> Fleet:
    fleet = serving(2, transition={"policy": policy})
    fleet.upload(3)
    return run(fleet)


def end(fleet: Fleet) -> tuple[object, ...]:
    status = fleet.status
    rows = [(r.version, r.state, r.failed_key, r.available_key) for r in status.versions]
    pods = sorted(pod.labels["slipway.dev/servable"] for pod in fleet.pods.values())
    return told(fleet), rows, pods, status.serving, status.phase, status.honoured


def killed_at(fleet: Fleet, write: int | None) -> bool:
    """Run to the end; the operator is killed before its write of that number. False if there is none."""
    written = 0
    for _ in range(60):
        fleet.poll()
        planned = fleet.plan()
        pending: list[Any] = [*([None] if planned.status != fleet.status else []), *planned.actions]
        for action in pending:
            if write == written:
                write = None
                fleet.restart_operator()
                break
            written += 1
            if action is None:
                fleet.write_status(planned)
            else:
                fleet.write(action)
        list(fleet.turn())
    return write is None


@pytest.mark.parametrize("policy", ["AvailabilityPreserving", "ResourcePreserving"])
@pytest.mark.parametrize("what", [*KILLED, *ASKED])
def test_an_operator_that_is_killed_before_any_write_comes_to_the_same_end_and_history(
    what: str, policy: str
) -> None:
    def prepared() -> Fleet:
        fleet = world(policy)
        if what in KILLED:
            KILLED[what](fleet)
            return fleet
        annotation, behaviour = ASKED[what]
        fleet.upload(4, behaviour)
        run(fleet)
        fleet.behaviours = dict.fromkeys(fleet.behaviours, Behaviour.GOOD)
        fleet.annotate(annotation, "4")
        return fleet

    expected = end(run(prepared(), 60))
    for write in range(100):
        fleet = prepared()
        if not killed_at(fleet, write):
            break
        assert end(fleet) == expected, f"killed before write {write}"
    assert 5 < write < 100
