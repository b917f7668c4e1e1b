"""Builds are told apart by what goes into them, and a given folder comes first."""

import dataclasses
from pathlib import Path

import pytest

from cluster import tools
from cluster.errors import ClusterError
from cluster.tools import catalog
from cluster.tools.golang import Go

GROUP = catalog.Group("helm", {"helm": "helm.sh/helm/v4/cmd/helm"})
FILES = [("go.mod", b"module m"), ("go.sum", b"h1:x")]


def test_the_same_inputs_have_the_same_key_in_any_order() -> None:
    key = catalog.key(GROUP, FILES, "go1.26.8")
    assert key == catalog.key(GROUP, reversed(FILES), "go1.26.8")
    assert key.startswith("helm-")


@pytest.mark.parametrize(
    ("group", "files", "go"),
    [
        (GROUP, FILES, "go1.26.9"),
        (GROUP, [FILES[0], ("go.sum", b"h1:y")], "go1.26.8"),
        (GROUP, [FILES[0]], "go1.26.8"),
        (dataclasses.replace(GROUP, stamps=("a.b=1",)), FILES, "go1.26.8"),
        (dataclasses.replace(GROUP, programs={"helm": "other/package"}), FILES, "go1.26.8"),
    ],
    ids=["go", "sum", "file", "stamps", "package"],
)
def test_any_other_input_has_another_key(
    group: catalog.Group, files: list[tuple[str, bytes]], go: str
) -> None:
    assert catalog.key(group, files, go) != catalog.key(GROUP, FILES, "go1.26.8")


def test_every_group_has_its_pinned_module() -> None:
    for group in catalog.GROUPS:
        module = (tools.MODULES / group.name / "go.mod").read_text()
        for package in group.programs.values():
            assert package == "." or package in module
        assert group.name == "pause" or (tools.MODULES / group.name / "go.sum").exists()


def test_the_stamped_version_is_the_pinned_one() -> None:
    module = (tools.MODULES / "cluster" / "go.mod").read_text()
    assert f"\tk8s.io/kubernetes {catalog.KUBERNETES} " in module


def test_an_unknown_tool_is_refused_with_those_there_are() -> None:
    with pytest.raises(ClusterError, match=r"no tool is called 'kubektl'; there are .*kubectl"):
        catalog.group_of("kubektl")


def test_a_given_program_is_taken_without_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "helm"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("SLIPWAY_TOOLS", str(tmp_path))
    assert tools.find.__wrapped__("helm") == program


def test_a_cached_program_is_taken_without_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_TOOLS", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tools, "_go", lambda: Go("go", "go1.26.8"))
    module = tools.MODULES / "pause"
    files = [(path.name, path.read_bytes()) for path in module.iterdir()]
    key = catalog.key(catalog.group_of("pause"), files, "go1.26.8")
    program = tmp_path / "slipway" / "tools" / key / "pause"
    program.parent.mkdir(parents=True)
    program.touch()
    assert tools.find.__wrapped__("pause") == program
