"""The termination message."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_sync.exports import ExitCode, SyncOutcome

TEXT = st.text()


@given(st.builds(SyncOutcome, TEXT, TEXT, TEXT, TEXT, TEXT, st.integers(0, 2**62)))
def test_what_is_written_is_read_and_fits(outcome: SyncOutcome) -> None:
    rendered = outcome.render()
    assert len(rendered.encode()) <= 4096
    found = SyncOutcome.parse(rendered)
    assert found is not None
    assert (found.digest, found.revision, found.bytes) == (
        outcome.digest,
        outcome.revision,
        outcome.bytes,
    )


def test_a_long_sentence_is_cut_and_the_rest_stays() -> None:
    outcome = SyncOutcome("MissingShard", "ä" * 9000, "€" * 9000, "", "ab" * 32, 7)
    rendered = outcome.render()
    assert len(rendered.encode()) <= 4096
    found = SyncOutcome.parse(rendered)
    assert found is not None
    assert found.message.endswith("…")
    assert found.reason == "MissingShard"
    assert found.revision == "ab" * 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "Error: no such file",
        '{"message": "x"}',
        '{"reason": 1}',
        "[" * 9999,
        json.dumps({"reason": "x", "bytes": "1"}),
        json.dumps({"reason": "x", "object": []}),
    ],
)
def test_what_others_write_is_none(text: str) -> None:
    assert SyncOutcome.parse(text) is None


def test_every_exit_code_has_a_reason_and_the_documented_number() -> None:
    assert {code.reason: int(code) for code in ExitCode} == {
        "Synced": 0,
        "Usage": 64,
        "Rejected": 65,
        "SourceUnavailable": 69,
        "VolumeError": 74,
        "RevisionMoved": 75,
        "AccessDenied": 77,
    }
