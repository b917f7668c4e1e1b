"""A rollout as text."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
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
        "history": [
            {"from": "1", "to": "2", "cause": "NewExport", "startedAt": "2026-03-04T05:05:07Z"},
            {
                "from": "",
                "to": "1",
                "cause": "SpecChange",
                "by": "kubectl-edit",
                "startedAt": "2026-03-01T05:06:07Z",
                "duration": "42s",
                "outcome": "RolledBack",
                "outageSeconds": 3,
                "reason": "LoadFailed",
            },
        ],
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


def test_the_history_is_a_row_for_each_transition() -> None:
    assert history_table(history(MODEL), NOW).splitlines() == [
        "FROM      TO   STARTED   DURATION   OUTCOME      CAUSE        BY             OUTAGE   REASON",
        "1         2    1m ago               under way    NewExport",
        "nothing   1    3d ago    42s        RolledBack   SpecChange   kubectl-edit   3s       LoadFailed",
    ]


def test_the_steps_of_a_rollout_are_told() -> None:
    steps = {
        "version": 2,
        "step": 1,
        "steps": 2,
        "weight": 10,
        "reached": 8,
        "waitingFor": "Approval",
    }
    model = {**MODEL, "status": {"phase": "Canary", "rollout": steps}}
    told = "step 1 of 2, 10% asked for, 8% reached, waits for approval"
    assert f"  rollout: {told}" in describe(model, NOW).splitlines()
    assert line(model).endswith(told)
    done = {**model, "status": {"rollout": {**steps, "step": 3}}}
    assert "all steps are done" in describe(done, NOW)


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


def test_the_guide_shows_a_rollout_as_it_is_printed() -> None:
    page = (Path(__file__).parents[4] / "docs/guide/command-line.md").read_text()
    shown = page.partition("$ kubectl slipway status digits\n")[2].partition("\n```")[0]
    rows = [
        {"version": 7, "state": "Loading", "weight": 33, "replicas": 2, "readyReplicas": 1},
        {"version": 6, "state": "Available", "weight": 67, "replicas": 2, "readyReplicas": 2},
    ]
    times = ["2026-03-04T05:06:00Z", "2026-02-24T05:06:07Z"]
    versions = [{**row, "since": since} for row, since in zip(rows, times, strict=True)]
    status = {"phase": "Shifting 1/2", "serving": "6 67%, 7 33%", "target": "7", "ready": "3/2"}
    model = {
        "metadata": {"namespace": "default", "name": "digits"},
        "status": {**status, "versions": versions},
    }
    assert describe(model, NOW) == shown
