"""Plug-ins are found by name, and what is wrong with one is said in a sentence that names where it is from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plugin_packages import write_distribution
from slipway_server.errors import Code, ServingError
from slipway_server.plugins.entry_points import Group, load, names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def refusal(group: Group, name: str) -> str:
    with pytest.raises(ServingError) as caught:
        load(group, name)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "\n" not in caught.value.message
    return caught.value.message


def test_only_the_plug_in_that_is_named_is_imported_and_only_once(folder: Path) -> None:
    text = "def choose(versions):\n    return None\n"
    write_distribution(folder, "once-a", text, {"slipway.policies": {"once_a": "once_a:choose"}})
    write_distribution(folder, "once-b", "1 / 0", {"slipway.policies": {"once_b": "once_b:choose"}})
    assert names(Group.POLICIES) == ("once_a", "once_b")
    chosen = load(Group.POLICIES, "once_a")
    assert chosen([]) is None
    assert load(Group.POLICIES, "once_a") is chosen
    assert "once_b" not in sys.modules


def test_an_unknown_name_is_answered_with_those_that_are_installed(folder: Path) -> None:
    assert refusal(Group.SOURCES, "nowhere") == (
        "There is no plug-in nowhere; no plug-in of slipway.sources is installed"
    )
    points = {"slipway.sources": {"known-b": "known:f", "known-a": "known:f"}}
    write_distribution(folder, "known", "", points)
    assert refusal(Group.SOURCES, "nowhere") == (
        "There is no plug-in nowhere; the plug-ins of slipway.sources that are installed: known-a, known-b"
    )
    assert "known-a" in refusal(Group.SERVABLES, "known-a").replace("no plug-in known-a", "known-a")


@pytest.mark.parametrize(
    ("module", "entry", "why"),
    [
        ("import not_there_at_all", "f", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("raise ValueError('two\\nlines')", "f", "ValueError: two lines"),
        ("raise SystemExit(3)", "f", "SystemExit: 3"),
        ("g = 1", "f", "AttributeError: module 'bad_{n}' has no attribute 'f'"),
        ("f = 1", "f", "bad_{n}:f is no function or class"),
        (
            "def f(): ...\nf.api_version = 2",
            "f",
            "it is written for version 2 of the API, and this server has 1",
        ),
    ],
)
def test_a_plug_in_that_cannot_be_imported_names_its_distribution(
    folder: Path, module: str, entry: str, why: str, request: pytest.FixtureRequest
) -> None:
    n = abs(hash(request.node.name))
    points = {"slipway.servables": {f"bad_{n}": f"bad_{n}:{entry}"}}
    write_distribution(folder, f"bad-{n}", module, points)
    assert refusal(Group.SERVABLES, f"bad_{n}") == (
        f"Plug-in bad_{n} of slipway.servables, from distribution bad-{n} 1.0, cannot be imported: "
        + why.format(n=n)
    )


def test_two_distributions_with_one_name_are_both_named(folder: Path) -> None:
    for name in ("twin-a", "twin-b"):
        module = name.replace("-", "_")
        write_distribution(
            folder, name, "def f(): ...", {"slipway.servables": {"twin": f"{module}:f"}}
        )
    assert refusal(Group.SERVABLES, "twin") == (
        "Plug-in twin of slipway.servables is in several distributions: twin-a 1.0, twin-b 1.0; uninstall all but one"
    )
