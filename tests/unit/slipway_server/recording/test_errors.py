"""What ends the command, and with which exit code."""

from __future__ import annotations

import pytest

from slipway_server import __main__
from slipway_server.errors import Code, ServingError
from slipway_server.recording.errors import RefusedError


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RefusedError(Code.NOT_FOUND, "no graph"), 65, "no graph"),
        (ServingError(Code.NOT_FOUND, "no file"), 255, "no file"),
        (RecursionError("too deep"), 255, "RecursionError: too deep"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_end_is_one_line_and_an_exit_code(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_options: object) -> str:
        raise error

    monkeypatch.setattr(__main__, "_recorded", fail)
    assert __main__.record(["models/sum/3"], "slipway-server") == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"slipway-server record-checks: {words}\n")
