"""What the operator starts a server with, read by the server itself (§2)."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.api.resource import parse
from slipway_operator.model.servable import Servable
from slipway_operator.rendering.inputs import servable
from slipway_operator.rendering.server_container import server_container
from slipway_operator.rendering.settings import RenderSettings
from slipway_server.settings import command_line
from slipway_server.settings.server import settings

SOURCE = {"uri": "s3://models/digits"}


def started(spec: dict[str, Any]) -> command_line.Parsed:
    model = parse({"metadata": {"name": "digits", "namespace": "ml", "uid": "u1"}, "spec": spec})
    version: Servable = servable(model, 3, "00000003", "a" * 64)
    container = server_container(model, version, RenderSettings("server:1", "sync:1"))
    return command_line.parse(container["args"])


@pytest.mark.parametrize(
    "serving",
    [
        {},
        {"tags": ["serve", "gpu"], "batching": {"maxBatchSize": 32, "timeout": "10ms"}},
    ],
    ids=["bare", "full"],
)
def test_nobody_can_change_the_models_of_a_pod(serving: dict[str, Any]) -> None:
    """The arguments of pods that run already say so as well: none was added for it, which would restart them."""
    parsed = started({"source": SOURCE, "serving": serving})
    assert (parsed.unknown, parsed.malformed) == ((), ())
    assert "reload_rpc" not in parsed.given
    assert settings(parsed.values, cpus=2).model_management.reload_rpc == "off"
