"""When the deadline of a call passes, from what gRPC says is left."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from slipway_server.frontends.rpc.transport.deadline import deadline


@pytest.mark.parametrize(
    ("left", "from_now"),
    [(None, None), (9.2e9, None), (30.0, 30.0), (0.0, 0.0), (-5.0, -5.0), (3e8, 3e8)],
)
def test_the_deadline(
    monkeypatch: pytest.MonkeyPatch, left: float | None, from_now: float | None
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    context: Any = SimpleNamespace(time_remaining=lambda: left)
    assert deadline(context) == (None if from_now is None else 1000.0 + from_now)
