"""Where things are: sizes of folders and modules, and unit tests that mirror the packages."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "slipway_operator": ROOT / "operator/src/slipway_operator",
    "slipway_sync": ROOT / "sync/src/slipway_sync",
    "slipway_server": ROOT / "server/src/slipway_server",
    "slipway_cli": ROOT / "cli/src/slipway_cli",
}
SOURCES = ("operator", "sync", "server", "cli", "e2e", "benchmarks", "examples")
MAX_MODULES = 12
MAX_LINES = 400
MAX_PLAN_LINES = 120


def _tracked(*folders: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    # In the middle of a merge, git lists a file once for each side.
    found = [ROOT / name for name in sorted(set(listed.split("\0"))) if name.endswith(".py")]
    return [path for path in found if path.is_file()]


def _generated(path: Path) -> bool:
    return "wire" in path.parts and path.stem.endswith(("_pb2", "_pb2_grpc"))


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


SOURCE_FILES = [path for path in _tracked(*SOURCES) if not _generated(path)]
UNIT_TESTS = [
    path
    for path in _tracked("tests/unit")
    if path.name.startswith("test_") and path.relative_to(ROOT / "tests/unit").parts[0] in PACKAGES
]
ENTRIES = {
    "slipway_sync.stores.open_store": (
        "slipway_sync.stores.backends",
        "slipway_sync.stores.identity",
    ),
    "slipway_operator.planning.plan.plan": (
        "slipway_operator.planning.status",
        "slipway_operator.planning.traffic",
    ),
}
"""Functions that choose by their arguments which modules of these folders work: tests go through them."""

HIGH_LEVEL = {"test_conformance.py", "test_fuzz_corpus.py"}
"""Tests of a whole package, or of documents about it: they lie at its top."""


def test_no_folder_of_a_package_has_more_modules_than_a_reader_can_hold() -> None:
    counts = Counter(
        path.parent
        for path in SOURCE_FILES
        if path.name != "__init__.py" and any(path.is_relative_to(at) for at in PACKAGES.values())
    )
    assert {_name(at): count for at, count in counts.items() if count > MAX_MODULES} == {}


def test_no_module_is_too_long() -> None:
    lengths = {_name(path): _lines(path) for path in SOURCE_FILES}
    assert {name: count for name, count in lengths.items() if count > MAX_LINES} == {}


def test_the_plan_is_the_order_of_decisions_and_nothing_else() -> None:
    assert _lines(PACKAGES["slipway_operator"] / "planning/plan.py") <= MAX_PLAN_LINES


def _place(test: Path) -> tuple[str, ...]:
    """The package and its folders that a test file lies in."""
    return test.parent.relative_to(ROOT / "tests/unit").parts


def _folder(test: Path) -> Path:
    package, *folders = _place(test)
    return PACKAGES[package].joinpath(*folders)


def test_every_folder_of_unit_tests_is_a_folder_of_its_package() -> None:
    assert [_name(test) for test in UNIT_TESTS if not _folder(test).is_dir()] == []


def _exports() -> dict[str, str]:
    """Names that a package hands on in its `__init__`, and where it has each from."""
    found: dict[str, str] = {}
    for path in SOURCE_FILES:
        if path.name != "__init__.py" or not any(map(path.is_relative_to, PACKAGES.values())):
            continue
        package = ".".join(
            path.parent.relative_to(path.parents[path.parts[::-1].index("src")]).parts[1:]
        )
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    found[f"{package}.{alias.asname or alias.name}"] = f"{node.module}.{alias.name}"
    return found


EXPORTS = _exports()


def _imported(tree: ast.Module) -> set[str]:
    """Modules and names that are imported, also inside functions; what is handed on counts where it is from."""
    found = _imports(tree)
    while more := {EXPORTS[name] for name in found if name in EXPORTS} - found:
        found |= more
    chosen = {folder for name in found for folder in ENTRIES.get(name, ())}
    return found | chosen | {name.rpartition(".")[0] for name in found}


def _imported_by_support(tree: ast.Module) -> set[str]:
    """What the helpers in tests/support import for a test that leaves everything to them."""
    helpers = (ROOT / "tests/support" / f"{name}.py" for name in _imports(tree))
    trees = [ast.parse(path.read_text("utf-8")) for path in helpers if path.is_file()]
    return {name for tree in trees for name in _imported(tree)}


def _imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _mentioned(tree: ast.Module) -> str:
    """The text of all strings: programs that are run as processes of their own, files that are read."""
    return "\n".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _modules(folder: Path, prefix: str) -> set[str]:
    names = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    return {f"{prefix}.{name}" for name in names}


@pytest.mark.parametrize("test", UNIT_TESTS, ids=_name)
def test_a_unit_test_lies_in_the_folder_of_a_module_that_it_tests(test: Path) -> None:
    if len(_place(test)) == 1 and test.name in HIGH_LEVEL:
        return
    prefix = ".".join(_place(test))
    here = _modules(_folder(test), prefix)
    tree = ast.parse(test.read_text("utf-8"))
    imported = _imported(tree)
    if not any(name.startswith("slipway_") for name in imported):
        imported |= _imported_by_support(tree)
    # A package's own __init__ may hold something, too.
    own = (_folder(test) / "__init__.py").read_text("utf-8")
    if any(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in ast.parse(own).body):
        here.add(prefix)
    here |= {prefix} & {folder for folders in ENTRIES.values() for folder in folders}
    text = _mentioned(tree)
    assert any(module in imported or module in text for module in here), (
        f"{_name(test)} uses no module of {prefix}: it belongs where those that it uses are: "
        f"{sorted(name for name in imported if name.startswith('slipway_'))}"
    )
