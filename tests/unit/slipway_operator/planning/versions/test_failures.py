"""When a version is judged."""

import pytest

from slipway_operator.api.status import VersionState
from slipway_operator.planning.versions.failures import is_proven
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
