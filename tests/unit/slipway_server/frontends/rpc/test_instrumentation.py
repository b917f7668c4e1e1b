"""What stands around every gRPC method (§7)."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
import pytest

from slipway_server.frontends.rpc.instrumentation import instrumented
from slipway_server.observability.telemetry import Call, Telemetry


class Context:
    """A call without a deadline."""

    def time_remaining(self) -> float:
        return float("inf")

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise RuntimeError(code, details)


def test_a_fault_of_the_server_is_internal_as_over_rest_and_counted_so() -> None:
    telemetry = Telemetry({"m"}.__contains__)

    def fail(_data: bytes, call: Call) -> bytes:
        call.model = "m"
        raise KeyError("x")

    context: Any = Context()
    with pytest.raises(RuntimeError) as aborted:
        instrumented(telemetry, "Predict", fail)(b"", context)
    assert aborted.value.args == (grpc.StatusCode.INTERNAL, "KeyError: 'x'")
    assert 'code="INTERNAL"' in telemetry.text().decode()
