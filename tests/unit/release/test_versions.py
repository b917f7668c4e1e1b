"""A release is refused as long as a part of it names another version."""

from __future__ import annotations

from pathlib import Path

import pytest

from release import versions

ROOT = Path(__file__).resolve().parents[3]
FILES = {path: (ROOT / path).read_text() for path in versions.FILES}


def of_version(version: str, changelog: str = "(2026-01-02)") -> dict[str, str]:
    python = versions.python_version(version)
    return {
        path: text.replace("(unreleased)", changelog).replace(
            "0.1.0", python if path in versions.PYPROJECTS else version
        )
        for path, text in FILES.items()
    }


@pytest.mark.parametrize("version", ["0.1.0", "12.0.3", "1.0.0-rc.2"])
def test_nothing_is_said_when_all_agree(version: str) -> None:
    assert versions.disagreements(of_version(version), version) == []


@pytest.mark.parametrize("path", versions.FILES)
def test_each_file_that_names_another_version_is_named(path: str) -> None:
    files = of_version("0.2.0") | {path: of_version("0.1.9")[path]}
    wrong = versions.disagreements(files, "0.2.0")
    assert wrong
    assert all(sentence.startswith(path) for sentence in wrong)


def test_the_changelog_needs_a_date() -> None:
    [wrong] = versions.disagreements(of_version("0.2.0", "(unreleased)"), "0.2.0")
    assert wrong == "CHANGELOG.md says `unreleased` where the date of 0.2.0 belongs"


@pytest.mark.parametrize("tag", ["", "0.1.0", "v1", "v1.2", "v1.2.3.4", "v1.2.3-x", "v1.2.3\n"])
def test_what_is_no_tag_of_a_release(tag: str) -> None:
    assert versions.version_of(tag) is None
