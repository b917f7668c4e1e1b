import sys

import pytest

from slipway_server.errors import ServingError
from slipway_server.frontends.native.module import native_module


def test_an_installation_without_the_module_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "slipway_server._native", None)
    with pytest.raises(ServingError) as refused:
        native_module()
    assert refused.value.message.startswith(
        "--front=native needs the extension module slipway_server._native, which this installation lacks ("
    )
    assert refused.value.message.endswith(
        "): build it from the sources with make setup, or use --front=python"
    )
