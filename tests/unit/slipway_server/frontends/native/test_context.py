import grpc
import pytest

from slipway_server.errors import Code
from slipway_server.frontends.native.context import AbortedError, CallContext


def test_a_deadline_that_has_passed_leaves_no_time_and_none_is_none() -> None:
    assert CallContext("unix:", (), None).time_remaining() is None
    assert CallContext("unix:", (), 0.0).time_remaining() == 0.0
    assert 50 < (CallContext("unix:", (), 60.0).time_remaining() or 0) <= 60


@pytest.mark.parametrize("status", grpc.StatusCode)
def test_every_status_has_its_number(status: grpc.StatusCode) -> None:
    with pytest.raises(AbortedError) as end:
        CallContext("unix:", (), None).abort(status, "why")
    assert (Code(end.value.code).name, end.value.details) == (status.name, "why")
