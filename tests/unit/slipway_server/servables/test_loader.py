"""A directory is shown to the registered formats in their order; the first that knows it loads it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from slipway_server.errors import Code, ServingError
from slipway_server.servables import registry
from slipway_server.servables.formats import ServableFormat, UnsupportedError
from slipway_server.servables.loader import ServableLoader


class Model:
    """A loaded version that knows which format made it."""

    signatures: Mapping[str, Any] = {}
    example_signatures: Mapping[str, Any] = {}
    signature_defs: Mapping[str, Any] = {}

    def __init__(self, origin: tuple[str, str, int, Path]) -> None:
        self.origin = origin
        self.closed = False

    def run(self, *_: Any) -> list[Any]:
        return []

    def close(self) -> None:
        self.closed = True


def a_format(name: str) -> ServableFormat:
    return ServableFormat(
        lambda directory: (directory / name).exists(),
        lambda model, version, directory: Model((name, model, version, directory)),
    )


@pytest.mark.parametrize(
    ("files", "chosen"), [(["a"], "a"), (["b"], "b"), (["a", "b"], "a"), (["a", "c"], "a")]
)
def test_the_first_format_that_matches_loads(tmp_path: Path, files: list[str], chosen: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    loaded: Any = ServableLoader([a_format("a"), a_format("b")]).load("m", 3, str(tmp_path))
    assert loaded.origin == (chosen, "m", 3, tmp_path)


def unsupported(name: str) -> ServableFormat:
    def load(*_: Any) -> Any:
        raise UnsupportedError(f"{name} needs more")

    return ServableFormat(lambda directory: (directory / name).exists(), load)


def test_what_a_format_cannot_run_gives_way_to_another_format(tmp_path: Path) -> None:
    loader = ServableLoader([unsupported("a"), unsupported("b"), a_format("c")])
    for name in "ab":
        (tmp_path / name).touch()
    with pytest.raises(ServingError) as error:
        loader.load("m", 1, str(tmp_path))
    assert str(error.value) == "INVALID_ARGUMENT: a needs more"
    (tmp_path / "c").touch()
    loaded: Any = loader.load("m", 1, str(tmp_path))
    assert loaded.origin == ("c", "m", 1, tmp_path)


def test_another_formats_own_error_is_what_is_said(tmp_path: Path) -> None:
    def broken(*_: Any) -> Any:
        raise ServingError(Code.DATA_LOSS, "broken")

    loader = ServableLoader([unsupported("a"), ServableFormat(lambda _: True, broken)])
    (tmp_path / "a").touch()
    with pytest.raises(ServingError, match="DATA_LOSS: broken"):
        loader.load("m", 1, str(tmp_path))


def test_a_directory_of_no_format_is_refused_in_tensorflow_servings_words(tmp_path: Path) -> None:
    with pytest.raises(ServingError) as error:
        ServableLoader([a_format("a")]).load("m", 1, str(tmp_path))
    assert error.value.code is Code.NOT_FOUND
    assert error.value.message.startswith(
        "Specified file path does not appear to contain a SavedModel bundle"
    )
    assert str(tmp_path) in error.value.message


def test_what_is_unloaded_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    loader = ServableLoader([a_format("a")])
    loaded: Any = loader.load("m", 1, str(tmp_path))
    loader.unload(loaded)
    assert loaded.closed


@pytest.mark.parametrize("flush", [True, False])
def test_files_are_forgotten_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, flush: bool
) -> None:
    (tmp_path / "a").touch()
    forgotten: list[Path] = []
    monkeypatch.setattr("slipway_server.servables.loader.forget_files", forgotten.append)
    ServableLoader([a_format("a")], flush_caches=flush).load("m", 1, str(tmp_path))
    assert forgotten == ([tmp_path] if flush else [])


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_factories", [])


@pytest.mark.usefixtures("empty_registry")
def test_formats_keep_the_order_of_their_registration() -> None:
    first, second, third = (a_format(name) for name in "abc")
    several: Callable[[Any], tuple[ServableFormat, ...]] = lambda _: (first, second)  # noqa: E731
    for factory in (several, lambda _: (), lambda _: (third,)):
        registry.register(factory)
    assert registry.registered_formats(registry.FormatSettings()) == (first, second, third)


@pytest.mark.usefixtures("empty_registry")
def test_a_factory_sees_the_settings() -> None:
    seen: list[registry.FormatSettings] = []

    @registry.register
    def factory(settings: registry.FormatSettings) -> tuple[ServableFormat, ...]:
        seen.append(settings)
        return ()

    settings = registry.FormatSettings(lite_interpreters=3)
    assert registry.registered_formats(settings) == ()
    assert seen == [settings]


def test_the_registry_imports_no_library_of_a_format() -> None:
    program = (
        "import sys, slipway_server.servables.registry, slipway_server.servables.loader; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
