"""When a version is judged."""

import pytest

from slipway_operator.api.status import VersionState
from slipway_operator.planning.versions.failures import failed_reason, is_proven
from snapshots import row


@pytest.mark.parametrize(
    ("state", "key_", "proven"),
    [
        (VersionState.AVAILABLE, "k", True),
        (VersionState.SOURCE_GONE, "k", True),
        (VersionState.DRAINING, "k", True),  # it may be called back
        (VersionState.AVAILABLE, "other", False),  # the spec has changed
        (VersionState.RETIRED, "k", False),  # started anew, it is judged anew
        (VersionState.LOADING, "k", False),
        (VersionState.FAILED, "k", False),
    ],
)
def test_what_was_available_and_has_run_since_is_not_judged_again(
    state: VersionState, key_: str, *, proven: bool
) -> None:
    assert is_proven(row(3, state, available_key="k"), key_) is proven
    assert not is_proven(None, key_)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"failed_reason": "AnalysisFailed", "reason": "ReplicasNotReady"}, "AnalysisFailed"),
        ({"reason": "AnalysisFailed", "state": VersionState.ROLLED_BACK}, "AnalysisFailed"),
        ({"reason": "ReplicasNotReady"}, ""),  # of the pods that serve
        (
            {"reason": "RolledBack", "message": "the changed spec failed: AnalysisFailed: 9% of 7"},
            "AnalysisFailed",
        ),
        (
            {"reason": "RolledBack", "message": "the change of the spec was aborted: as asked"},
            "Aborted",
        ),
        ({"reason": "RolledBack", "message": "it is retried: later"}, ""),
        ({"reason": "AnalysisFailed", "state": VersionState.ROLLED_BACK, "failed_key": ""}, ""),
        ({"failed_reason": "AnalysisFailed", "failed_key": ""}, ""),  # it is tried again
    ],
)
def test_why_inputs_failed_is_known_also_from_rows_that_do_not_have_it_apart(
    known: dict[str, str], reason: str
) -> None:
    found = row(3, VersionState.AVAILABLE, failed_key="k").model_copy(update=known)
    assert failed_reason(found) == reason
