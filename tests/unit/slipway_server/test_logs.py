"""What is logged is one JSON object a line, and logging fails nobody."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog
from typing_extensions import override

from slipway_server import logs


@pytest.fixture(autouse=True)
def _own_configuration() -> Iterator[None]:
    yield
    structlog.reset_defaults()


class Full(io.StringIO):
    """Where nothing more can be written to."""

    @override
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device", text)


def test_text_that_is_no_utf8_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure()
    structlog.get_logger("test").warning("loading", path="/models/\udcff", count=2**70)
    line = json.loads(written.getvalue())
    assert (line["event"], line["level"]) == ("loading", "warning")
    assert (line["path"], line["count"]) == ("/models/\udcff", 2**70)


@pytest.mark.parametrize("closed", [False, True], ids=["full", "closed"])
def test_a_line_that_cannot_be_written_is_lost(
    monkeypatch: pytest.MonkeyPatch, *, closed: bool
) -> None:
    output = Full()
    if closed:
        output.close()
    monkeypatch.setattr(sys, "stderr", output)
    logs.configure()
    log = structlog.get_logger("test")
    for say in (log.info, log.warning, log.error, log.exception):
        say("loading")


@pytest.mark.parametrize(
    ("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
)
def test_lines_below_the_level_are_not_written(
    monkeypatch: pytest.MonkeyPatch, level: str, lines: int
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure(level)
    log = structlog.get_logger("test")
    for say in (log.debug, log.info, log.warning, log.error):
        say("loading")
    assert len(written.getvalue().splitlines()) == lines
