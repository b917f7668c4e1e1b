"""What a package imports, its pyproject.toml declares: nothing is there by the grace of a dependency's dependency."""

import ast
import importlib.metadata
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "operator": "slipway_operator",
    "sync": "slipway_sync",
    "server": "slipway_server",
    "cli": "slipway_cli",
}


def imported(package: str) -> set[str]:
    """Dotted names of all modules that a package imports, wherever in a file."""
    return {
        name
        for path in (ROOT / package / "src").rglob("*.py")
        for name in imports_of(ast.parse(path.read_text()))
    }


def imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            # A module of a namespace is named after the `import`: `from google import protobuf`.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def declared(package: str) -> set[str]:
    """Distributions that its pyproject.toml names, those of an extra included."""
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return {canonical(re.split(r"[\s\[<>=!~;]", line)[0]) for line in lines}


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def distributions(module: str) -> set[str]:
    """Installed distributions that an imported module may come from."""
    top = module.partition(".")[0]
    if top in PACKAGES.values():
        return {canonical(top)}
    candidates = set(importlib.metadata.packages_distributions().get(top, ()))
    if len(candidates) > 1:
        candidates = {name for name in candidates if module_files(name) & paths_of(module)}
    return {canonical(name) for name in candidates}


@cache
def module_files(distribution: str) -> frozenset[str]:
    return frozenset(str(file) for file in importlib.metadata.files(distribution) or ())


def paths_of(module: str) -> set[str]:
    """Files that a dotted name may mean: the last part may be a name in the module."""
    whole = module.replace(".", "/")
    parent = whole.rpartition("/")[0]
    return {f"{path}{end}" for path in (whole, parent) for end in (".py", "/__init__.py")}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_is_declared(package: str) -> None:
    own = PACKAGES[package]
    known = declared(package)
    foreign = {
        module
        for module in imported(package)
        if (top := module.partition(".")[0]) not in sys.stdlib_module_names and top != own
    }
    assert len(foreign) > 5
    missing = {module: distributions(module) for module in foreign}
    assert {m: d for m, d in missing.items() if not d & known} == {}


def test_the_server_imports_no_part_of_tensorflow_that_brings_the_whole_package() -> None:
    """Messages may come from anywhere; all else has one place, and a fallback that needs the package."""
    source = ROOT / "server" / "src" / "slipway_server"
    allowed = {"tensorflow_library/lite.py"}
    found = {
        f"{path.relative_to(source)}: {name}"
        for path in source.rglob("*.py")
        if str(path.relative_to(source)) not in allowed
        for name in imports_of(ast.parse(path.read_text()))
        if name.split(".")[0] == "tensorflow" and not name.startswith("tensorflow.core.")
    }
    assert found == set()
