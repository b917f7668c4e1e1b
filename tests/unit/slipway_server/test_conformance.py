"""docs/reference/tfserving.md: every section of TensorFlow Serving's behaviour is held by tests that name it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "tfserving.md"
SECTIONS = (
    *("0", "1", "1.1", "2", "3", "4", "4.1", "4.2", "4.3", "4.4", "5", "6", "7"),
    *("8", "8.1", "8.2", "8.3", "8.4", "9", "10", "11", "12", "14", "15", "16", "17"),
)
_NAMED = re.compile(r"§(\d+(?:\.\d+)?)")


def _held() -> dict[str, list[str]]:
    """The files that the page lists, by section."""
    parts = re.split(r"^## ([0-9.]+?)\. .*$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {
        number: re.findall(r"`(tests/[\w/]+\.py)`", text.rpartition("\nTests: ")[2])
        for number, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _named(path: Path) -> set[str]:
    return set(_NAMED.findall(path.read_text()))


def test_the_page_has_every_section_in_order() -> None:
    assert tuple(_held()) == SECTIONS


@pytest.mark.parametrize("section", SECTIONS)
def test_the_tests_of_a_section_are_there_and_name_it(section: str) -> None:
    files = _held()[section]
    assert files
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert [file for file in files if section not in _named(ROOT / file)] == []


def test_tests_name_only_sections_of_the_page() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    unknown = {
        str(path.relative_to(ROOT)): sorted(_named(path) - set(SECTIONS))
        for path in tests
        if _named(path) - set(SECTIONS)
    }
    assert unknown == {}
