"""What the documents say is there, is there: paths, links, targets, values, words and manifests."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from documents import sections
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
SOURCES = ("operator/src", "sync/src", "server/src", "cli/src", "charts", "e2e")


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
    Reason.REJECTED, Reason.ROLLED_BACK, Reason.SETTLING, Reason.FAILED, Reason.MOVED, Reason.REVISION_MOVED,
}  # fmt: skip
"""Reasons that nobody looks up: the phase says as much, or there is nothing to do."""


@pytest.mark.parametrize("reason", sorted(set(Reason) - WELL))
def test_every_trouble_is_told_what_to_do_about(reason: Reason) -> None:
    pages = [ROOT / "docs" / "guide" / page for page in ("troubleshooting.md", "validation.md")]
    rows = [row for page in pages for row in page.read_text().splitlines()]
    assert [row for row in rows if row.startswith("|") and f"`{reason}`" in row]


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
        if path.suffix in (".py", ".tpl", ".yaml", ".json") and "__pycache__" not in path.parts
    )
    words = set(re.findall(r"\w+", code))
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        named = set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)[^`]*`", prose(page)))
        named |= {n.removesuffix("_total") for n in re.findall(r"`(slipway_\w+)`", prose(page))}
        assert named <= words, (name(page), sorted(named - words))


def test_every_decision_is_in_the_index_under_its_own_number() -> None:
    folder = ROOT / "docs" / "adr"
    (index,) = sections(folder / "README.md")
    rows = list(index.tables("Number", "Decision", "Status", "In one line"))
    titles = {
        page.name: page.read_text().partition("\n")[0].removeprefix("# ")
        for page in folder.glob("0*.md")
    }
    written = [
        (int(number), decision) for number, decision, status, _ in rows if status != "never written"
    ]
    told = {
        target: f"{number}. {title}"
        for number, decision in written
        for title, target in re.findall(r"^\[(.*)\]\((.*)\)$", decision)
    }
    assert told == titles
    assert all(
        name.startswith(f"{int(title.partition('.')[0]):04}-") for name, title in titles.items()
    )
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1)), "no number is left out"


def test_every_path_that_a_decision_names_exists() -> None:
    """Of a package, from the repository's root or from the package's."""
    roots = [ROOT, *ROOT.glob("*/src/slipway_*")]
    for page in (ROOT / "docs" / "adr").glob("*.md"):
        paths = re.findall(r"`([\w./-]+/[\w.-]+\.py)`", prose(page))
        assert [path for path in paths if not any((root / path).exists() for root in roots)] == []


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_says_what_both_commands_need_and_take(command: str) -> None:
    parts = re.split(r"^## ", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    (section,) = (part for part in parts if f"```sh\n{command}\n```" in part)
    assert "Debian 12" in section or "such a machine" in section
    assert "root" in section
    assert re.search(r"about \d+ minutes", section)
    assert "2 cores" in section


def test_contributing_lists_every_target_that_make_lists() -> None:
    listed = set(re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    table = "\n".join(
        row[0]
        for section in sections(ROOT / "CONTRIBUTING.md")
        for row in section.tables("Target", "What it does", "Minutes on 2 cores")
    )
    assert listed - {"help"} == set(re.findall(r"`make ([a-z0-9-]+)`", table))
