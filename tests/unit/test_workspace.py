"""The workspace: a folder named `operator` must not hide a module, and pure modules stay pure."""

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from cluster.images.recipe import is_ignored

ROOT = Path(__file__).resolve().parents[2]
IMPURE = ("kopf", "kubernetes", "grpc", "tensorflow", "asyncio", "obstore", "httpx")


def run(code: str) -> str:
    """Run a program from the repository root, which is then the first place to import from."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_from_the_root_operator_is_the_standard_library() -> None:
    assert run("import operator; print(operator.add(1, 2), operator.__name__)") == "3 operator"
    assert run("import collections; print(collections.Counter('aa')['a'])") == "2"


def test_operator_and_its_tests_hold_nothing_that_makes_it_a_package() -> None:
    assert [p.name for p in (ROOT / "operator").glob("*.py")] == []
    assert not (ROOT / "tests" / "__init__.py").exists()


@pytest.mark.parametrize(
    "module",
    [
        "slipway_operator.api.schema.crd",
        "slipway_operator.api.resource",
        "slipway_operator.model.observed",
        "slipway_operator.rendering.deployment",
        "slipway_operator.rendering.services",
        "slipway_operator.planning.plan",
        "slipway_operator.discovery.poll_state",
        "slipway_operator.cluster.reading",
        "slipway_sync.exports",
    ],
)
def test_a_pure_module_brings_no_input_or_output_with_it(module: str) -> None:
    loaded = run(f"import sys; import {module}; print(*sorted(sys.modules))").split()
    assert module in loaded
    assert [name for name in IMPURE if name in loaded] == []


def test_images_do_not_depend_on_what_was_built_beside_them() -> None:
    ignored = (ROOT / ".containerignore").read_text()
    # Docker reads the one name, Podman and Buildah both.
    assert (ROOT / ".dockerignore").read_text() == ignored
    patterns = ignored.split()
    for path in ("server/native/src/lib.rs", "server/src/slipway_server/_native.abi3.so"):
        assert is_ignored(PurePosixPath(path), patterns), path
    assert not is_ignored(PurePosixPath("server/src/slipway_server/_native.pyi"), patterns)


@pytest.mark.parametrize("first", ["exit 1", "echo cargo 1.63.0"], ids=["broken", "old"])
def test_a_cargo_that_will_not_do_hides_none_that_does(tmp_path: Path, first: str) -> None:
    for name, says in {"first": first, "second": "echo cargo 1.95.0"}.items():
        program = tmp_path / name / "cargo"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{says}\n")
        program.chmod(0o755)
    path = f"{tmp_path / 'first'}:{tmp_path / 'second'}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "server/native/build", "which"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (str(tmp_path / "second" / "cargo"), "")
