"""What the page shows of a Model: bounded, flat, and nothing of the spec."""

import json
from typing import Any

from slipway_operator.status_page.view import MAX_TEXT, MAX_VERSIONS, view


def model(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": "digits", "uid": "1"},
        "spec": {"source": {"uri": "s3://secret-bucket", "credentialsSecret": "keys"}},
        "status": status,
    }


def version(number: int, **more: Any) -> dict[str, Any]:
    return {"version": number, "state": "Retired", "since": "2026-01-01T00:00:00Z", **more}


def test_a_model_without_a_status_is_starting() -> None:
    shown = view({"metadata": {"namespace": "a", "name": "b", "uid": "1"}, "spec": {}})
    assert (shown["phase"], shown["ready"], shown["versions"], shown["history"]) == (
        "Starting", "Unknown", [], [],
    )  # fmt: skip


def test_nothing_of_the_spec_is_shown() -> None:
    assert "secret-bucket" not in json.dumps(view(model(phase="Available")))
    assert "keys" not in json.dumps(view(model(phase="Available")))


def test_versions_with_pods_or_requests_are_shown_however_old_and_the_highest_first() -> None:
    versions = [version(n) for n in range(256, 3, -1)]
    shown = view(model(versions=[*versions, version(2, weight=100), version(1, replicas=1)]))
    numbers = [one["version"] for one in shown["versions"]]
    assert len(numbers) == MAX_VERSIONS
    assert numbers[0] == "256"
    assert numbers[-2:] == ["2", "1"]
    assert shown["moreVersions"] == 255 - MAX_VERSIONS


def test_a_number_that_javascript_would_round_is_text() -> None:
    [shown] = view(model(versions=[version(2**62 + 1)]))["versions"]
    assert shown["version"] == "4611686018427387905"


def test_text_is_cut_and_hides_nothing() -> None:
    shown = view(model(phase="a\u202eb\u200bc\n\x00d\ud800", message="x" * 9999))
    assert (
        shown["phase"]
        == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
        + 2 * ("\N{REPLACEMENT CHARACTER}")
        + "d\N{REPLACEMENT CHARACTER}"
    )
    assert len(shown["message"]) == MAX_TEXT
    assert shown["message"].endswith("x…")


def test_the_size_is_bounded() -> None:
    text = "ü" * 5000
    versions = [version(n, message=text, reason=text) for n in range(256)]
    history = [{"from": text, "to": text, "message": text, "by": text}] * 50
    shown = view(model(versions=versions, history=history, message=text, serving=text))
    assert len(shown["history"]) == 10
    assert len(json.dumps(shown, ensure_ascii=False)) < 64_000


def test_values_of_another_type_are_no_error() -> None:
    shown = view(model(versions=[{"version": None, "weight": "50", "message": None}], history=None))
    assert shown["versions"][0]["weight"] == 0
    assert shown["versions"][0]["message"] == ""
