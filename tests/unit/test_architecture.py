"""ARCHITECTURE.md and CONTRIBUTING.md say what is: folders, layers, and what is defined where."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from documents import ROOT, Claim, Section, claims, prose, quoted, sections

PAGE = ROOT / "ARCHITECTURE.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PACKAGES = (
    "operator/src/slipway_operator/",
    "sync/src/slipway_sync/",
    "server/src/slipway_server/",
    "cli/src/slipway_cli/",
)
GENERATED = "wire"
OPERATOR = ROOT / PACKAGES[0]


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found: list[dict[str, Any]] = settings["contracts"]
    return found


def section_of(package: str) -> Section:
    return next(section for section in sections(PAGE) if f"`{package}`" in section.heading)


def calls(file: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("claim", [*claims(PAGE), *claims(CONTRIBUTING)], ids=str)
def test_what_a_table_names_is_defined_in_the_file_that_it_names(claim: Claim) -> None:
    assert claim.holds


def test_a_claim_about_a_file_can_be_wrong() -> None:
    names = OPERATOR / "api" / "names.py"
    assert Claim((names,), "deployment_name").holds
    assert not Claim((names,), "deployment").holds
    assert not Claim((names,), "Mapping").holds, "a mere import defines nothing"
    assert not Claim((OPERATOR / "nowhere.py",), "deployment_name").holds


@pytest.mark.parametrize(("page", "least"), [(PAGE, 60), (CONTRIBUTING, 15)], ids=["map", "guide"])
def test_every_file_of_a_row_has_something_that_the_row_names(page: Path, least: int) -> None:
    rows = [(part, row) for part in sections(page) for row in part.tables("File", "In it")]
    assert len(rows) >= least
    for part, (*_, files, names) in rows:
        assert quoted(files), names
        for file in quoted(files):
            assert any(Claim((part.path(file),), name).holds for name in quoted(names)), file


@pytest.mark.parametrize("page", [PAGE, CONTRIBUTING], ids=lambda page: page.name)
def test_every_path_exists(page: Path) -> None:
    path = re.compile(r"/?\w[\w.-]*(/[\w.-]+)+/?")
    missing = [
        word
        for part in sections(page)
        for word in quoted(part.text)
        if path.fullmatch(word) and not part.path(word).exists() and not (ROOT / word).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_has_every_folder_of_a_package_and_no_other(package: str) -> None:
    section = section_of(package)
    drawn = {
        (folder, *sorted(word for word in quoted(told) if word.endswith("/")))
        for (folder,), told in (
            (quoted(first), told) for first, told in section.tables("Folder", "What is there")
        )
    }
    folders = [f.parent for f in (ROOT / package).rglob("__init__.py") if GENERATED not in f.parts]
    there = {
        (
            f"{top.name}/",
            *sorted(f"{sub.name}/" for sub in folders if top in sub.parents),
        )
        for top in folders
        if top.parent == (ROOT / package)
    }
    assert drawn == there


def drawing() -> str:
    """The layers as they are held, a package after the other, in lines that fit."""
    layered = [contract for contract in contracts() if contract["type"] == "layers"]
    packages = [package.split("/")[-2] for package in PACKAGES]
    lines = []
    for contract in sorted(layered, key=lambda c: packages.index(c["containers"][0].split(".")[0])):
        (container,) = contract["containers"]
        line = f"{container:<30}{contract['layers'][0]}"
        for layer in contract["layers"][1:]:
            if len(line) + len(layer) > 115:
                lines.append(line)
                line = " " * 29
            line += f" → {layer}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def test_the_layers_drawn_are_those_that_import_linter_holds() -> None:
    (drawn,) = re.findall(r"^```\n(slipway_.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert drawn == drawing(), f"draw this:\n{drawing()}"
    assert all(contract["exhaustive"] for contract in contracts() if contract["type"] == "layers")


def test_the_other_contracts_are_told_by_their_names() -> None:
    (section,) = (section for section in sections(PAGE) if section.heading == "Layers")
    told = set(re.findall(r'^\* "([^"]+)"', section.text, re.MULTILINE))
    assert told == {c["name"] for c in contracts() if c["type"] != "layers"}
    (pure,) = (c for c in contracts() if c["name"] == "pure modules do no I/O")
    paragraph = section.text.partition('"pure modules do no I/O"')[2].partition("\n* ")[0]
    assert set(quoted(paragraph)) == set(pure["source_modules"])
    assert {"asyncio", "time", "random"} <= set(pure["forbidden_modules"])


def test_the_schedulers_are_those_of_the_loop() -> None:
    section = section_of(PACKAGES[0])
    told = [quoted(name)[0] for name, _ in section.tables("Scheduler", "What a turn does")]
    made = [
        call.args[0].value
        for call in calls(OPERATOR / "reconcile" / "loop.py")
        if isinstance(call.func, ast.Name)
        and call.func.id == "Scheduler"
        and isinstance(call.args[0], ast.Constant)
    ]
    assert sorted(told) == sorted(made)


def test_status_is_written_in_one_place() -> None:
    assert "Status is written in one place only, `cluster/applying.py`." in PAGE.read_text()
    writers = {
        str(file.relative_to(OPERATOR))
        for file in OPERATOR.rglob("*.py")
        for call in calls(file)
        if any(isinstance(arg, ast.Constant) and arg.value == "status" for arg in call.args)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("merge", "apply", "replace", "request")
    }
    assert writers == {"cluster/applying.py"}


def test_labels_and_annotations_are_spelt_in_one_place() -> None:
    """A key under our group is put together from `names.GROUP`, which is in no other file a literal."""
    key = re.compile(r"(?:[a-z-]+\.)?slipway\.dev/[a-z-]+")
    elsewhere = {
        str(file.relative_to(OPERATOR))
        for file in OPERATOR.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and key.fullmatch(node.value)
    }
    assert elsewhere <= {"api/names.py"}


def test_the_page_is_short_enough_to_be_read() -> None:
    assert len(prose(PAGE.read_text()).splitlines()) < 280
