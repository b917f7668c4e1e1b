"""What a person asks becomes an annotation that names a version; the operator's own reader judges."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_cli.errors import UsageError
from slipway_cli.rollout.verbs import Verb, pinned, value_for


def model(*, annotations: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    rows = [
        {"version": 7, "state": "Loading", "weight": 10},
        {"version": 6, "state": "Available", "weight": 90},
        {"version": 5, "state": "Retired", "weight": 0},
        {"version": 4, "state": "Rejected", "weight": 0},
    ]
    metadata: dict[str, Any] = {"name": "m", "namespace": "n", "annotations": annotations}
    return {"metadata": metadata, "status": {"target": "7", "versions": rows, **status}}


@pytest.mark.parametrize("verb", [Verb.PROMOTE, Verb.ABORT, Verb.RETRY])
def test_the_version_on_its_way_is_meant(verb: Verb) -> None:
    assert value_for(verb, model(), None, None) == "7"
    assert value_for(verb, model(), 6, None) == "6"


def test_a_retry_means_the_version_that_failed() -> None:
    rows = [
        {"version": 7, "state": "RolledBack", "weight": 0},
        {"version": 6, "state": "Available", "weight": 100},
    ]
    assert value_for(Verb.RETRY, model(target="6", versions=rows), None, None) == "7"


def test_a_rollback_means_the_version_that_served_before() -> None:
    rows = [
        {"version": 7, "state": "Available", "weight": 100},
        {"version": 6, "state": "Rejected", "weight": 0},
        {"version": 5, "state": "Retired", "weight": 0},
    ]
    assert value_for(Verb.ROLLBACK, model(versions=rows), None, None) == "5"
    with pytest.raises(UsageError, match="name the one to serve with --to"):
        value_for(Verb.ROLLBACK, model(versions=rows[:2]), None, None)


def test_an_approval_names_the_step() -> None:
    assert value_for(Verb.APPROVE, model(), None, 2) == "7/2"
    steps = {"version": 7, "step": 1, "steps": 2}
    assert value_for(Verb.APPROVE, model(rollout=steps), None, None) == "7/1"
    assert value_for(Verb.PROMOTE, model(rollout=steps, target=""), None, None) == "7"
    with pytest.raises(UsageError, match="--step"):
        value_for(Verb.APPROVE, model(), None, None)
    with pytest.raises(UsageError, match="no rollout of version 6"):
        value_for(Verb.APPROVE, model(rollout=steps), 6, None)
    with pytest.raises(UsageError, match="all its steps"):
        value_for(Verb.APPROVE, model(rollout={**steps, "step": 3}), None, None)


@pytest.mark.parametrize(
    ("asked", "acted", "value"),
    [
        ("", "", "7"),
        ("7", "", "7"),
        ("7/2", "7/1", "7/2"),
        ("7", "7/1", "7/2"),
        ("7/2", "7/2", "7/3"),
        ("6", "6/1", "7"),
        ("", "7/4", "7/5"),
    ],
)
def test_asking_again_is_another_value_once_the_first_was_acted_on(
    asked: str, acted: str, value: str
) -> None:
    annotations = {"slipway.dev/abort": asked} if asked else None
    given = model(annotations=annotations, honoured={"abort": acted})
    assert value_for(Verb.ABORT, given, None, None) == value


def test_a_version_that_is_not_there_and_a_target_that_is_none() -> None:
    with pytest.raises(UsageError, match="has no version 9: it has 4, 5, 6, 7"):
        value_for(Verb.PROMOTE, model(), 9, None)
    with pytest.raises(UsageError, match="name one with --version"):
        value_for(Verb.PROMOTE, model(target=""), None, None)
    with pytest.raises(UsageError, match="name one with --version"):
        value_for(Verb.ABORT, {"metadata": {"name": "m"}}, None, None)


def test_what_is_pinned() -> None:
    assert pinned(model()) == ""
    assert pinned(model(annotations={"slipway.dev/rollback": "6"})) == "6"
