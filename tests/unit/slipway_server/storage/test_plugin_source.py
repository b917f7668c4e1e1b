"""Versions from a plug-in's source: fetched whole or not at all, kept while somebody uses them."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from slipway_server.errors import Code, ServingError
from slipway_server.plugins.api import PluginError
from slipway_server.storage.file_system_source import FileSystemSource
from slipway_server.storage.plugin_source import LOCK_FILE, Fetched, PluginSources
from slipway_server.storage.source import ModelConfig, VersionDirectory
from slipway_server.storage.versions import All, Latest, Specific, VersionPolicy


class Shelf:
    """A source whose versions a test puts there."""

    def __init__(self) -> None:
        self.there: dict[int, str] = {}
        self.broken: set[int] = set()
        self.fetched: list[int] = []
        self.error: Exception | None = None
        self.closed = threading.Event()

    def versions(self) -> dict[int, str]:
        if self.error:
            raise self.error
        return dict(self.there)

    def fetch(self, version: int, revision: str, directory: Path) -> None:
        (directory / "half").write_text("")
        if version in self.broken:
            raise PluginError("the shelf broke", Code.DATA_LOSS)
        (directory / "content").write_text(revision)
        self.fetched.append(version)

    def close(self) -> None:
        self.closed.set()


def model(policy: VersionPolicy | None = None, path: str = "shelf://left") -> ModelConfig:
    return ModelConfig("m", path, policy or Latest())


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def sources(tmp_path: Path, shelf: Shelf) -> PluginSources:
    return PluginSources(str(tmp_path), lambda _name: lambda _location: shelf)


def numbers(found: Fetched) -> list[int]:
    return [one.version for one in found.versions]


def test_the_version_policy_chooses_what_is_fetched(sources: PluginSources, shelf: Shelf) -> None:
    shelf.there = {1: "a", 2: "b", 10: "c"}
    assert numbers(sources.look(model())) == [10]
    assert shelf.fetched == [10]
    assert numbers(sources.look(model(Latest(2)))) == [2, 10]
    assert numbers(sources.look(model(Specific(frozenset({1}))))) == [1]
    found = sources.look(model(All()))
    assert numbers(found) == [1, 2, 10]
    assert shelf.fetched == [10, 2, 1]
    assert [Path(one.path, "content").read_text() for one in found.versions] == ["a", "b", "c"]


def test_another_revision_is_another_directory(sources: PluginSources, shelf: Shelf) -> None:
    shelf.there = {1: "a"}
    [before] = sources.look(model()).versions
    assert sources.look(model()).versions == (before,)
    shelf.there = {1: "b"}
    [after] = sources.look(model()).versions
    assert (after.path, after.fingerprint) != (before.path, before.fingerprint)
    assert Path(after.path, "content").read_text() == "b"


def test_what_cannot_be_fetched_leaves_nothing_behind_and_unloads_nothing(
    sources: PluginSources, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.there, shelf.broken = {2: "b"}, {2}
    found = sources.look(model())
    assert found.versions == ()
    assert str(found.trouble) == (
        "DATA_LOSS: Could not fetch version 2 of servable m from shelf://left: the shelf broke"
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    shelf.there = {1: "a"}
    assert numbers(sources.look(model())) == [1]
    shelf.there = {1: "a", 2: "b"}
    found = sources.look(model())
    assert numbers(found) == [1]
    assert found.trouble is None
    assert found.warnings == (
        "Could not fetch version 2 of servable m from shelf://left: the shelf broke",
    )
    shelf.broken = set()
    assert numbers(sources.look(model())) == [2]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PluginError("gone fishing", Code.UNAVAILABLE), "UNAVAILABLE: {what}gone fishing"),
        (KeyError("x"), "UNKNOWN: {what}KeyError: 'x'"),
    ],
)
def test_a_source_that_fails_is_one_sentence(
    sources: PluginSources, shelf: Shelf, error: Exception, said: str
) -> None:
    shelf.error = error
    with pytest.raises(ServingError) as caught:
        sources.look(model())
    what = "Could not look at base path shelf://left of servable m: "
    assert str(caught.value) == said.format(what=what)


@pytest.mark.parametrize("nonsense", [None, [1], {"1": "a"}, {-1: "a"}, {1: 2}, {2**63: "a"}])
def test_what_is_no_listing_is_refused(
    sources: PluginSources, shelf: Shelf, nonsense: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "versions", lambda: nonsense)
    with pytest.raises(ServingError, match="did not return revisions by version number"):
        sources.look(model())


def test_a_version_is_removed_when_nobody_wants_it_and_nobody_has_it_open(
    sources: PluginSources, shelf: Shelf
) -> None:
    shelf.there = {1: "a"}
    [one] = sources.look(model()).versions
    with Path(one.path, LOCK_FILE).open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        shelf.there = {1: "a", 2: "b"}
        for _ in range(3):
            sources.look(model())
        assert Path(one.path).is_dir()
    sources.look(model())
    assert not Path(one.path).exists()


def test_a_load_that_is_about_to_begin_finds_its_directory(
    sources: PluginSources, shelf: Shelf
) -> None:
    shelf.there = {1: "a"}
    [one] = sources.look(model()).versions
    shelf.there = {2: "b"}
    sources.look(model())
    assert Path(one.path).is_dir()
    sources.look(model())
    assert not Path(one.path).exists()


def test_a_source_is_closed_when_no_model_has_it(sources: PluginSources, shelf: Shelf) -> None:
    sources.look(model())
    sources.keep([model()])
    assert not shelf.closed.is_set()
    sources.keep([model(path="shelf://right")])
    assert shelf.closed.wait(60)


def test_a_temporary_directory_goes_with_the_server(shelf: Shelf) -> None:
    shelf.there = {1: "a"}
    sources = PluginSources("", lambda _name: lambda _location: shelf)
    [one] = sources.look(model()).versions
    assert Path(one.path).is_dir()
    sources.remove_temporary()
    assert not Path(one.path).parents[1].exists()


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path, shelf: Shelf) -> None:
    (tmp_path / "file").write_text("")
    shelf.there = {1: "a"}
    sources = PluginSources(str(tmp_path / "file"), lambda _name: lambda _location: shelf)
    found = sources.look(model())
    assert str(found.trouble).startswith(
        "UNKNOWN: Could not fetch version 1 of servable m from shelf://left: "
    )


def test_a_long_fetch_delays_no_other_model_and_is_no_failure(
    sources: PluginSources, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local" / "1").mkdir(parents=True)
    shelf.there = {1: "a"}
    fetching, go_on, done = threading.Event(), threading.Event(), threading.Event()
    fetch = shelf.fetch

    def slowly(version: int, revision: str, directory: Path) -> None:
        fetching.set()
        assert go_on.wait(60)
        fetch(version, revision, directory)

    monkeypatch.setattr(shelf, "fetch", slowly)
    other = threading.Event()
    heard: dict[str, list[int]] = {}
    failed: list[str] = []

    def found(name: str, versions: tuple[VersionDirectory, ...]) -> None:
        heard[name] = [one.version for one in versions]
        (done if name == "m" else other).set()

    now = [0.0]
    source = FileSystemSource(
        [model(), ModelConfig("local", str(tmp_path / "local"))],
        found,
        interval=-1,
        failed=lambda name, _trouble: failed.append(name),
        plugins=sources,
        clock=lambda: now[0],
    )
    source.poll(patience=0.01)
    assert fetching.wait(60)
    assert other.wait(60)
    assert heard == {"local": [1]}
    now[0] = 60.0
    source.poll(patience=0.01)
    assert "shelf://left of servable m is still being listed or fetched" in source.trouble("m")
    go_on.set()
    assert done.wait(60)
    assert heard["m"] == [1]
    assert "m" not in failed
