"""Pure packages take the time as an argument: none of them reads a clock."""

import ast
from pathlib import Path
from typing import Final

import pytest

import slipway_operator
import slipway_sync

OPERATOR: Final = Path(slipway_operator.__file__).parent
PURE: Final = (
    *(OPERATOR / name for name in ("api", "model", "rendering", "planning")),
    Path(slipway_sync.__file__).parent / "exports",
)
CLOCKS: Final = {"now", "utcnow", "today"}
"""Methods of `datetime` and `date` that read the clock; import-linter keeps `time` out."""


def clock_reads(source: str) -> list[int]:
    """Lines that call a clock."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in CLOCKS
    ]


@pytest.mark.parametrize("package", PURE, ids=lambda path: path.name)
def test_no_pure_module_reads_the_clock(package: Path) -> None:
    modules = sorted(package.rglob("*.py"))
    assert modules
    found = {str(m.relative_to(package)): clock_reads(m.read_text()) for m in modules}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_read_of_the_clock_is_found() -> None:
    assert clock_reads("import datetime\nx = datetime.datetime.now(datetime.UTC)") == [2]
    assert clock_reads("def plan(now):\n    return now") == []
