"""A status holds what others say, whatever its length: no plan fails for it, and no write of it."""

from dataclasses import replace

import pytest

from slipway_operator.api.conditions import Reason
from slipway_operator.api.status import VersionState, VersionStatus
from slipway_operator.planning.plan import plan
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, listed, model, observed

LONG = "no " * 20_000


def _row(message: str) -> VersionStatus:
    return VersionStatus(
        version=3, state=VersionState.FAILED, since="2026-03-01T11:00:00Z", message=message
    )


@pytest.mark.parametrize(
    "row", [_row(LONG), _row("").model_copy(update={"message": LONG})], ids=["made", "copied"]
)
def test_a_text_is_cut_to_what_the_schema_holds(row: VersionStatus) -> None:
    said = row.model_dump(mode="json", by_alias=True)["message"]
    assert len(said) == 4096
    assert said == LONG[:4095] + "…"
    assert VersionStatus.model_validate(row.model_dump(by_alias=True)).message == said


def test_a_long_message_of_a_store_is_no_end_of_all_plans() -> None:
    source = replace(listed(3), error_reason=Reason.UNAVAILABLE, error_message=LONG)
    planned = plan(observed(model(), source=source), RenderSettings("server", "sync"), T0)
    assert len(planned.status.message) == 4096
    assert planned.actions
