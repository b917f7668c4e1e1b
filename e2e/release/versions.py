"""Whether every part of the project says that it is of the version that is released. Pure."""

import re
import tomllib
from collections.abc import Mapping
from typing import Final

import yaml

DISTRIBUTIONS: Final = ("sync", "operator", "server", "cli")
PYPROJECTS: Final = tuple(f"{name}/pyproject.toml" for name in DISTRIBUTIONS)
CHART: Final = "charts/slipway/Chart.yaml"
CHANGELOG: Final = "CHANGELOG.md"
FILES: Final = (*PYPROJECTS, CHART, CHANGELOG)

_TAG: Final = re.compile(r"v(?P<version>\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?)")
_HEADING: Final = re.compile(r"^## (?P<version>\S+) \((?P<date>[^)]*)\)$", re.MULTILINE)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def version_of(tag: str) -> str | None:
    """Return the version that a tag names, None if it names none.

    >>> version_of("v0.2.0-rc.1"), version_of("0.2.0"), version_of("v0.2")
    ('0.2.0-rc.1', None, None)
    """
    found = _TAG.fullmatch(tag)
    return found["version"] if found else None


def python_version(version: str) -> str:
    """Return the version as Python packages write it.

    >>> python_version("0.2.0-rc.1"), python_version("0.2.0")
    ('0.2.0rc1', '0.2.0')
    """
    for word, letters in (("-alpha.", "a"), ("-beta.", "b"), ("-rc.", "rc")):
        version = version.replace(word, letters)
    return version


def disagreements(files: Mapping[str, str], version: str) -> list[str]:
    """Return a sentence for each place that names another version.

    Args:
        files: text by path, of all `FILES`.
        version: as in the tag, without its `v`.
    """
    wrong = [
        f"{path} says version {stated}, not {python_version(version)}"
        for path in PYPROJECTS
        if (stated := tomllib.loads(files[path])["project"]["version"]) != python_version(version)
    ]
    chart = yaml.safe_load(files[CHART])
    wrong += [
        f"{CHART} says {field} {chart[field]}, not {version}"
        for field in ("version", "appVersion")
        if chart[field] != version
    ]
    heading = _HEADING.search(files[CHANGELOG])
    if heading is None or heading["version"] != version:
        wrong.append(f"{CHANGELOG} does not begin with {version}")
    elif not _DATE.fullmatch(heading["date"]):
        wrong.append(f"{CHANGELOG} says `{heading['date']}` where the date of {version} belongs")
    return wrong
