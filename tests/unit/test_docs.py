"""What the documents say is there, is there: paths, links, targets, values, words and manifests."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_operator import metrics
from slipway_operator.api.conditions import Reason
from slipway_operator.api.resource import parse

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
SOURCES = ("operator/src", "sync/src", "server/src", "charts", "e2e")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE
    )


def anchors(page: Path) -> set[str]:
    """What a `#…` may point to."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


WELL = {
    Reason.LISTED, Reason.NOT_POLLED_YET, Reason.AVAILABLE, Reason.TRANSITION, Reason.SCALED_TO_ZERO,
    Reason.WAITING_FOR_SOURCE, Reason.REPLICAS_NOT_READY, Reason.AS_DESIRED, Reason.INCOMPLETE,
    Reason.REJECTED, Reason.ROLLED_BACK,
}  # fmt: skip
"""Reasons that nobody looks up: the phase says as much, or there is nothing to do."""


@pytest.mark.parametrize("reason", sorted(set(Reason) - WELL))
def test_every_trouble_is_told_what_to_do_about(reason: Reason) -> None:
    rows = (ROOT / "docs" / "guide" / "troubleshooting.md").read_text().splitlines()
    assert [row for row in rows if row.startswith("|") and f"`{reason}`" in row]


def test_every_metric_of_the_operator_is_explained() -> None:
    page = (ROOT / "docs" / "guide" / "status.md").read_text()
    collectors = [value for key, value in vars(metrics).items() if key.isupper()]
    families = [family for collector in collectors for family in collector.collect()]
    total = {"counter": "_total"}
    told = [f"`{family.name}{total.get(family.type, '')}`" for family in families]
    assert len(told) > 8
    assert [metric for metric in told if metric not in page] == []


def test_every_path_of_the_map_exists() -> None:
    words = re.findall(r"`([^`\s]+)`", prose(ROOT / "ARCHITECTURE.md"))
    paths = [word for word in words if "/" in word]
    assert len(paths) > 50
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_part_of_a_package_is_on_the_map() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = [
        str(part.parent.relative_to(ROOT)) + "/"
        for package in ("operator/src/slipway_operator", "sync/src/slipway_sync")
        for part in (ROOT / package).glob("*/__init__.py")
        if part.parent.name != "wire"
    ]
    assert len(packages) >= 11
    assert [package for package in packages if f"`{package}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    )
    named = set(re.findall(r"`make ([a-z0-9-]+)`", page.read_text()))
    named |= set(
        re.findall(r"^(?:[A-Z_]+=\S+ )*make ([a-z0-9-]+)$", page.read_text(), flags=re.MULTILINE)
    )
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_values_of_the_chart_exist(page: Path) -> None:
    values: Any = yaml.safe_load((ROOT / "charts" / "slipway" / "values.yaml").read_text())
    for path in re.findall(r"--set '?([A-Za-z.]+)=", page.read_text()):
        found = values
        for part in path.split("."):
            assert part in found, path
            found = found[part]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_models_are_good(page: Path) -> None:
    shown = [
        *blocks(page, "yaml"),
        *re.findall(r"<<'EOF'\n(.*?)^EOF$", page.read_text(), re.DOTALL | re.MULTILINE),
    ]
    for manifest in (yaml.safe_load(block) for block in shown):
        if manifest.get("kind") == "Model":
            manifest["metadata"] |= {"namespace": "default", "uid": "1"}
            parse(manifest)


def test_a_token_is_in_a_url_only_for_senders_that_cannot_set_a_header() -> None:
    page = ROOT / "docs" / "guide" / "notifications.md"
    commands = [
        command
        for block in blocks(page, "sh")
        for command in re.split(r"(?<!\\)\n", block)
        if "/v1/notifications" in command
    ]
    assert len(commands) >= 6
    for command in commands:
        sender = " ".join(command.split()[:3])
        cannot = ("versitygw", "aws sns subscribe", "gcloud pubsub subscriptions")
        assert ("?token=" in command) == sender.startswith(cannot), command


def test_words_of_the_guide_are_words_of_the_code() -> None:
    """A reason, phase, state or metric that a page names is one that the code has."""
    code = "\n".join(
        path.read_text()
        for source in SOURCES
        for path in (ROOT / source).rglob("*")
        if path.suffix in (".py", ".tpl", ".yaml") and "__pycache__" not in path.parts
    )
    words = set(re.findall(r"\w+", code))
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        named = set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)[^`]*`", prose(page)))
        named |= {n.removesuffix("_total") for n in re.findall(r"`(slipway_\w+)`", prose(page))}
        assert named <= words, (name(page), sorted(named - words))
