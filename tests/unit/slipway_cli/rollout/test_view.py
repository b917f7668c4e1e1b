"""A rollout as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slipway_cli.rollout.view import age, as_json, describe, history, history_table, line

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
MODEL: dict[str, Any] = {
    "metadata": {"namespace": "default", "name": "digits", "generation": 3},
    "status": {
        "phase": "Shifting 1/2",
        "serving": "1 67%, 2 33%",
        "target": "2",
        "ready": "3/2",
        "message": "",
        "url": "http://digits.default.svc:8501/v1/models/digits",
        "versions": [
            {
                "version": 2,
                "state": "Loading",
                "weight": 33,
                "replicas": 2,
                "readyReplicas": 1,
                "since": "2026-03-04T05:06:00Z",
            },
            {"version": 1, "state": "Available", "weight": 67, "since": "2026-03-01T00:00:00Z"},
        ],
        "history": [{"from": 1, "to": 2, "outcome": "Failed", "sawOutage": "3s"}],
    },
}
BARE: dict[str, Any] = {"metadata": {"namespace": "n", "name": "new"}}


def test_all_of_it() -> None:
    assert describe(MODEL, NOW).splitlines() == [
        "default/digits: Shifting 1/2",
        "  serving: 1 67%, 2 33%",
        "  target:  2",
        "  ready:   3/2",
        "  url:     http://digits.default.svc:8501/v1/models/digits",
        "",
        "VERSION   STATE       WEIGHT   READY   SINCE   REASON   MESSAGE",
        "2         Loading     33%      1/2     7s",
        "1         Available   67%              3d",
    ]


def test_a_change_is_one_line_and_says_what_is_wrong() -> None:
    assert line(MODEL) == "digits: Shifting 1/2, serving 1 67%, 2 33%, target 2, ready 3/2"
    wrong = {**MODEL, "status": {"phase": "Failed 2", "message": "out of\nmemory \x1b[2J"}}
    assert line(wrong) == "digits: Failed 2, serving nothing: out of memory \ufffd[2J"


def test_a_model_without_status_is_told_as_such() -> None:
    assert describe(BARE, NOW).splitlines()[0] == "n/new: not looked at by the operator yet"
    assert line(BARE) == "new: not looked at by the operator yet, serving nothing"
    assert history(BARE) == []
    assert as_json(BARE)["status"] == {}


def test_the_history_has_every_field_that_the_operator_wrote() -> None:
    assert history_table(history(MODEL)).splitlines() == [
        "FROM   TO   OUTCOME   SAW OUTAGE",
        "1      2    Failed    3s",
    ]


def test_the_pin_and_what_came_of_a_request_are_shown() -> None:
    model = {
        "metadata": {**MODEL["metadata"], "annotations": {"slipway.dev/rollback": "1"}},
        "status": {"phase": "Pinned", "honoured": {"message": "version 2 was aborted"}},
    }
    shown = describe(model, NOW).splitlines()
    assert "  pinned:  1" in shown
    assert "  version 2 was aborted" in shown


@pytest.mark.parametrize(
    ("since", "shown"),
    [
        ("2026-03-04T05:06:07Z", "0s"),
        ("2026-03-04T06:00:00Z", "0s"),
        ("2026-03-04T05:05:06Z", "1m"),
        ("2025-03-04T05:05:06Z", "365d"),
        ("2026-03-04T05:05:06", "1m"),
        ("", ""),
        ("soon", ""),
    ],
)
def test_ages(since: str, shown: str) -> None:
    assert age(since, NOW) == shown
