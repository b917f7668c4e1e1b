"""§3: what a look at base paths finds, and models that come and go at run time."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slipway_server.errors import ServingError
from slipway_server.storage.directories import file_bytes
from slipway_server.storage.file_system_source import FileSystemSource, look
from slipway_server.storage.source import ModelConfig, VersionDirectory
from slipway_server.storage.versions import All, Latest, Specific, VersionPolicy


@dataclass
class Ear:
    """Hears what a source finds."""

    found: dict[str, list[int]] = field(default_factory=dict)
    history: list[tuple[str, list[int]]] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def hear(self, model: str, versions: tuple[VersionDirectory, ...]) -> None:
        with self.changed:
            self.found[model] = [one.version for one in versions]
            self.history.append((model, self.found[model]))
            self.changed.notify_all()

    def hear_trouble(self, model: str, trouble: ServingError) -> None:
        with self.changed:
            self.troubles[model] = str(trouble)
            self.changed.notify_all()

    def wait(self, model: str, versions: list[int]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.found.get(model) == versions, 10), self.found


def source(
    ear: Ear, *models: ModelConfig, interval: float = -1, keep_last: bool = True
) -> FileSystemSource:
    return FileSystemSource(
        models, ear.hear, interval=interval, keep_last=keep_last, failed=ear.hear_trouble
    )


def base(root: Path, model: str, *children: str) -> str:
    for child in children:
        (root / model / child).mkdir(parents=True)
    return str(root / model)


def test_one_missing_base_path_touches_only_its_own_model(tmp_path: Path) -> None:
    ear = Ear()
    absent = ModelConfig("absent", f"{tmp_path}/absent")
    source(ear, absent, ModelConfig("m", base(tmp_path, "m", "1"))).poll()
    assert ear.found == {"m": [1]}
    assert ear.troubles == {
        "absent": f"INVALID_ARGUMENT: Could not find base path {tmp_path}/absent for servable absent "
        f"with error NOT_FOUND: {tmp_path}/absent not found"
    }


def test_a_base_path_that_cannot_be_looked_at_is_told_as_a_status(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    ear = Ear()
    below, loop = f"{tmp_path}/file/m", f"{tmp_path}/loop"
    source(ear, ModelConfig("below", below), ModelConfig("loop", loop)).poll()
    beginning = "INVALID_ARGUMENT: Could not find base path"
    assert ear.troubles == {
        "below": f"{beginning} {below} for servable below with error NOT_FOUND: {below} not found",
        "loop": f"{beginning} {loop} for servable loop with error UNKNOWN: {loop}; "
        "Too many levels of symbolic links",
    }


def test_a_path_that_is_none_touches_only_its_own_model(tmp_path: Path) -> None:
    ear = Ear()
    source(ear, ModelConfig("odd", "/models/\0"), ModelConfig("m", base(tmp_path, "m", "1"))).poll()
    assert ear.found == {"m": [1]}
    assert ear.troubles["odd"].endswith(
        "for servable odd with error UNKNOWN: /models/\0; embedded null byte"
    )


def test_a_fault_with_one_model_is_not_the_end_of_discovery(tmp_path: Path) -> None:
    ear = Ear()

    def found(model: str, versions: tuple[VersionDirectory, ...]) -> None:
        if model == "odd":
            raise RuntimeError("a fault")
        ear.hear(model, versions)

    models = [ModelConfig(name, base(tmp_path, name, "1")) for name in ("odd", "m")]
    FileSystemSource(models, found, interval=-1).poll()
    assert ear.found == {"m": [1]}


@pytest.mark.parametrize(
    ("policy", "children", "names"),
    [
        pytest.param(Specific(frozenset({3})), ("03", "3"), {3: "3"}, id="canonical names first"),
        pytest.param(Specific(frozenset({3})), ("03",), {3: "03"}, id="else by number"),
        pytest.param(Specific(frozenset({3, 4})), ("03", "3"), {3: "03"}, id="all or a listing"),
        pytest.param(Latest(), ("03", "2"), {3: "03"}, id="latest"),
        pytest.param(All(), ("03", "2", "x"), {2: "2", 3: "03"}, id="all"),
    ],
)
def test_specific_versions_need_no_listing(
    tmp_path: Path, policy: VersionPolicy, children: tuple[str, ...], names: dict[int, str]
) -> None:
    config = ModelConfig("m", base(tmp_path, "m", *children), policy)
    assert look(config).directories == names


@pytest.mark.parametrize(
    ("policy", "keep_last", "after"),
    [
        pytest.param(Latest(), True, [1], id="an empty listing unloads nothing"),
        pytest.param(Latest(), False, [], id="unless asked to, as TensorFlow Serving does"),
        pytest.param(Specific(frozenset({1})), True, [1], id="nor does a vanished version"),
    ],
)
def test_a_base_path_that_is_emptied(
    tmp_path: Path,
    policy: VersionPolicy,
    keep_last: bool,  # noqa: FBT001
    after: list[int],
) -> None:
    ear = Ear()
    one = source(ear, ModelConfig("m", base(tmp_path, "m", "1"), policy), keep_last=keep_last)
    one.poll()
    shutil.rmtree(tmp_path / "m" / "1")
    one.poll()
    assert ear.found == {"m": after}
    assert one.trouble("m")
    (tmp_path / "m" / "1").mkdir()
    one.poll()
    assert (ear.found, one.trouble("m")) == ({"m": [1]}, "")


def test_an_empty_list_of_versions_is_no_accident(tmp_path: Path) -> None:
    ear = Ear()
    path = base(tmp_path, "m", "1")
    one = source(ear, ModelConfig("m", path))
    one.poll()
    one.update([ModelConfig("m", path, Specific(frozenset()))])
    one.poll()
    assert ear.found == {"m": []}
    assert ear.troubles == {"m": "NOT_FOUND: No specific versions requested for servable m."}


def test_a_removed_model_loses_its_versions_at_once(tmp_path: Path) -> None:
    ear = Ear()
    a, b = (ModelConfig(name, base(tmp_path, name, "1")) for name in "ab")
    one = source(ear, a, b)
    one.poll()
    one.update([b])
    assert ear.history == [("a", [1]), ("b", [1]), ("a", [])]
    one.poll()
    assert ear.history[3:] == [("b", [1])]


def test_a_look_that_began_before_a_change_says_nothing_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a model that was just removed would be loaded again, for good."""
    ear = Ear()
    config = ModelConfig("m", base(tmp_path, "m", "1"))
    one = source(ear, config)

    def slow(model: ModelConfig) -> object:
        one.update([])
        return look(model)

    monkeypatch.setattr("slipway_server.storage.file_system_source.look", slow)
    one.poll()
    assert ear.history == [("m", [])]


def test_a_change_is_looked_at_also_when_base_paths_are_looked_at_once(tmp_path: Path) -> None:
    ear = Ear()
    a, b = (ModelConfig(name, base(tmp_path, name, "1")) for name in "ab")
    one = source(ear, a, interval=0)
    one.start()
    try:
        ear.wait("a", [1])
        one.update([a, b])
        ear.wait("b", [1])
        base(tmp_path, "b", "2")
        one.update([a, b])
        ear.wait("b", [2])
    finally:
        one.stop()


def test_the_size_of_a_version(tmp_path: Path) -> None:
    (tmp_path / "v" / "variables").mkdir(parents=True)
    (tmp_path / "v" / "a").write_bytes(b"1234")
    (tmp_path / "v" / "variables" / "b").write_bytes(b"123456")
    assert file_bytes(str(tmp_path / "v")) == 10
    with pytest.raises(OSError, match="No such file"):
        file_bytes(str(tmp_path / "w"))
