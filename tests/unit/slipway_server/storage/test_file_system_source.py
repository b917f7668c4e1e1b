"""§3: what a look at base paths finds, and models that come and go at run time."""

from __future__ import annotations

import errno
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from slipway_server.errors import ServingError
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


def test_every_look_logs_the_versions_that_it_aspires_to(tmp_path: Path) -> None:
    path = base(tmp_path, "m", "1", "00000002", "x")
    looking = source(Ear(), ModelConfig("m", path, All()))
    with capture_logs() as lines:
        looking.poll()
        looking.poll()
    assert lines == 2 * [
        {"event": "aspiring version", "log_level": "debug", "model": "m", "version": number}
        | {"path": f"{path}/{name}"}
        for number, name in ((1, "1"), (2, "00000002"))
    ]


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

    def slow(model: ModelConfig, *, follow_links: bool) -> object:
        one.update([])
        return look(model, follow_links=follow_links)

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


# ---- links -----------------------------------------------------------------------------------------------------------


def link(path: Path, target: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(str(target))


def troubles_of(tmp_path: Path, ear: Ear, *, follow_links: bool = False) -> FileSystemSource:
    config = ModelConfig("m", str(tmp_path / "m"), All())
    one = FileSystemSource(
        [config], ear.hear, interval=-1, failed=ear.hear_trouble, follow_links=follow_links
    )
    one.poll()
    return one


@pytest.mark.parametrize(
    ("name", "target"),
    [
        pytest.param("x", "x", id="a loop that is no version"),
        pytest.param("9", "9", id="a loop"),
        pytest.param("9", "8/../9/1", id="a longer loop"),
        pytest.param("9", "gone", id="nothing there"),
        pytest.param("9", "a-file", id="a file"),
        pytest.param("9", "a-file/below", id="below a file"),
        pytest.param("9", "/", id="everything"),
        pytest.param("9", "..", id="the folder above"),
        pytest.param("9", "../m2/9", id="a folder whose name begins alike"),
        pytest.param("9", "/proc/self/root", id="everything, in disguise"),
        pytest.param("9", "a" * 255, id="a long name"),
        pytest.param("latest", "1", id="the name that people give the newest one"),
    ],
)
def test_a_link_beside_the_versions_hurts_no_version(
    tmp_path: Path, name: str, target: str
) -> None:
    ear = Ear()
    base(tmp_path, "m", "1")
    base(tmp_path, "m2", "9")
    (tmp_path / "m" / "a-file").touch()
    link(tmp_path / "m" / name, target)
    assert troubles_of(tmp_path, ear).trouble("m") == ""
    assert ear.found == {"m": [1]}


def test_links_that_stay_below_the_base_path_are_followed(tmp_path: Path) -> None:
    """Among them the way in which Kubernetes mounts ConfigMaps: everything is exchanged with one rename."""
    ear = Ear()
    base(tmp_path, "m", "..2026_11_30/1", "..2026_11_30/2", "real-3")
    link(tmp_path / "m" / "..data", "..2026_11_30")
    link(tmp_path / "m" / "1", "..data/1")
    link(tmp_path / "m" / "2", "..data/2")
    link(tmp_path / "m" / "3", tmp_path / "m" / "real-3")
    link(tmp_path / "m" / "4", ".")
    one = troubles_of(tmp_path, ear)
    assert ear.found == {"m": [1, 2, 3, 4]}
    base(tmp_path, "m", "..2026_12_01/2")
    link(tmp_path / "m" / "..data_tmp", "..2026_12_01")
    (tmp_path / "m" / "..data_tmp").rename(tmp_path / "m" / "..data")
    (tmp_path / "m" / "1").unlink()
    one.poll()
    assert ear.found == {"m": [2, 3, 4]}


def test_a_base_path_may_be_a_link(tmp_path: Path) -> None:
    ear = Ear()
    base(tmp_path, "elsewhere", "1")
    link(tmp_path / "m", tmp_path / "elsewhere")
    troubles_of(tmp_path, ear)
    assert ear.found == {"m": [1]}


@pytest.mark.parametrize("policy", [Latest(), All(), Specific(frozenset({1}))], ids=str)
def test_links_out_of_the_base_path_are_followed_when_asked_for(
    tmp_path: Path, policy: VersionPolicy
) -> None:
    base(tmp_path, "exports", "1")
    link(tmp_path / "m" / "1", tmp_path / "exports" / "1")
    config = ModelConfig("m", str(tmp_path / "m"), policy)
    assert look(config, follow_links=True).directories == {1: "1"}
    assert look(config).directories == {}
    [ignored] = look(config).ignored
    assert ignored == (
        f"Version directory 1 of servable m is a link that leaves base path {tmp_path}/m; it is ignored. "
        "--follow_links follows it."
    )


def test_the_reason_is_told_where_nothing_is_left(tmp_path: Path) -> None:
    ear = Ear()
    link(tmp_path / "m" / "1", "1")
    troubles_of(tmp_path, ear)
    assert ear.troubles["m"] == (
        f"NOT_FOUND: No versions of servable m found under base path {tmp_path}/m. Did you forget to name your leaf "
        "directory as a number (eg. '/1/')? Version directory 1 of servable m is a link that leads nowhere; it is "
        "ignored."
    )
    again = Ear()
    base(tmp_path, "exports", "1")
    (tmp_path / "m" / "1").unlink()
    link(tmp_path / "m" / "1", tmp_path / "exports" / "1")
    troubles_of(tmp_path, again, follow_links=True)
    assert (again.found, again.troubles) == ({"m": [1]}, {})


def test_a_version_that_cannot_be_read_now_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system: what serves goes on, and a new one that cannot be read fails alone."""
    ear = Ear()
    base(tmp_path, "m", "1", "real")
    link(tmp_path / "m" / "3", "real")
    one = troubles_of(tmp_path, ear)
    stat_of = Path.stat

    def stale(path: Path, **more: bool) -> object:
        if path.name == "3":
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return stat_of(path, **more)

    monkeypatch.setattr(Path, "stat", stale)
    one.poll()
    assert ear.history == [("m", [1, 3])] * 2


def test_a_reload_cannot_leave_its_folders_through_a_link(tmp_path: Path) -> None:
    base(tmp_path, "elsewhere", "1")
    base(tmp_path, "models/inside", "1")
    link(tmp_path / "models" / "out", tmp_path / "elsewhere")
    link(tmp_path / "models" / "in", "inside")
    folders = (str(tmp_path / "models"),)
    ear = Ear()
    models = [
        ModelConfig(name, f"{tmp_path}/models/{name}", within=folders) for name in ("out", "in")
    ]
    source(ear, *models).poll()
    assert ear.found == {"in": [1]}
    assert ear.troubles == {
        "out": f"INVALID_ARGUMENT: Could not find base path {tmp_path}/models/out for servable out with error "
        f"PERMISSION_DENIED: {tmp_path}/models/out; it is a link out of the folders that a reload may name "
        "(--model_roots)"
    }
    assert look(models[0], follow_links=True).directories == {1: "1"}


# ---- looks that do not end -------------------------------------------------------------------------------------------


def test_a_base_path_that_hangs_delays_no_other_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Ear()
    now = [0.0]
    release = threading.Event()
    hangs = {"a", "b"}

    def slow(model: ModelConfig, *, follow_links: bool) -> object:
        if model.name in hangs:
            assert release.wait(60)
        return look(model, follow_links=follow_links)

    monkeypatch.setattr("slipway_server.storage.file_system_source.look", slow)
    models = [ModelConfig(name, base(tmp_path, name, "1")) for name in "abc"]
    one = FileSystemSource(
        models, ear.hear, interval=0.01, failed=ear.hear_trouble, clock=lambda: now[0]
    )
    one.start()
    try:
        ear.wait("c", [1])
        base(tmp_path, "c", "2")
        ear.wait("c", [2])
        assert ear.found == {"c": [2]}
        assert ear.troubles == {}
        now[0] = 11.0
        with ear.changed:
            assert ear.changed.wait_for(lambda: set(ear.troubles) == hangs, 10)
        assert ear.troubles["a"] == (
            "UNAVAILABLE: The file system has not answered for more than 10 s: base path "
            f"{tmp_path}/a of servable a is looked at again when it does"
        )
        # Other models, and the same one at another place, do not wait for it either.
        one.update([models[0], ModelConfig("d", base(tmp_path, "d", "1")), models[2]])
        ear.wait("d", [1])
        hangs.clear()
        one.update([ModelConfig("a", base(tmp_path, "new", "5")), models[2]])
        ear.wait("a", [5])
        release.set()
        base(tmp_path, "new", "6")
        ear.wait("a", [6])
        assert ("a", [1]) not in ear.history, "what the look found that began before the change"
    finally:
        release.set()
        one.stop()


def test_one_thread_looks_at_all_models_that_answer(tmp_path: Path) -> None:
    ear = Ear()
    seen: set[int] = set()

    def found(model: str, versions: tuple[VersionDirectory, ...]) -> None:
        seen.add(threading.get_ident())
        ear.hear(model, versions)

    models = [ModelConfig(f"m{n}", base(tmp_path, f"m{n}", "1")) for n in range(20)]
    one = FileSystemSource(models, found, interval=-1)
    one.poll()
    one.poll()
    assert len(ear.history) == 40
    assert len(seen) == 1
    one.stop()


def test_a_model_that_stays_in_the_list_is_not_looked_at_twice_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reload would leave another thread at a base path that hangs."""
    ear, looks = Ear(), []
    path = base(tmp_path, "m", "1")
    one = source(ear, ModelConfig("m", path))

    def hanging(model: ModelConfig, *, follow_links: bool) -> object:
        looks.append(model)
        for _ in range(3):
            one.update([ModelConfig("m", path)])
            one.poll()
        return look(model, follow_links=follow_links)

    monkeypatch.setattr("slipway_server.storage.file_system_source.look", hanging)
    one.poll()
    assert len(looks) == 1
    assert ear.found == {"m": [1]}, "what is found is said of the model as it is now"
