"""`--fail_if_no_model_versions_found`: nothing there ends the start, a file system that does not answer does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_server.app.assembly import Assembly
from slipway_server.errors import Code, ServingError
from slipway_server.settings import command_line
from slipway_server.settings.server import settings

HUNG = ServingError(Code.UNAVAILABLE, "The file system has not answered for more than 10 s")
NOTHING = ServingError(Code.NOT_FOUND, "No versions of servable m found under base path /m")


@pytest.mark.parametrize(("trouble", "ended"), [(HUNG, []), (NOTHING, [NOTHING])])
def test_a_hanging_file_system_does_not_end_the_start(
    tmp_path: Path, trouble: ServingError, ended: list[ServingError]
) -> None:
    arguments = (
        "--model_name=m",
        f"--model_base_path={tmp_path}",
        "--fail_if_no_model_versions_found",
    )
    parsed = command_line.parse(arguments)
    ends: list[ServingError] = []
    assembly = Assembly(
        settings(parsed.values, cpus=2, given=parsed.given),
        failed_for_good=lambda _sentence: None,
        failed_to_start=ends.append,
        changed=lambda: None,
        waiting=dict,
    )
    # What the source calls when a look has found nothing; a file system that hangs cannot be had in a test.
    assembly._nothing_found("m", trouble)
    assert ends == ended
