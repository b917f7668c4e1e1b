"""What `server/hatch_build.py` makes of a folder with the native front, and of one without."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "server/hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built(hook: ModuleType, folder: Path, version: str) -> dict[str, Any]:
    """What the hook says of a wheel for every platform."""
    data: dict[str, Any] = {"force_include": {}, "pure_python": True}
    arguments: list[Any] = [str(folder), {}, None, None, "", "wheel"]
    hook.NativeFrontHook(*arguments).initialize(version, data)
    return data


def test_a_wheel_is_for_every_platform_where_nothing_was_compiled(
    hook: ModuleType, tmp_path: Path
) -> None:
    assert built(hook, tmp_path, "standard") == {"force_include": {}, "pure_python": True}


def test_a_wheel_with_the_native_front_is_for_its_platform(
    hook: ModuleType, tmp_path: Path
) -> None:
    module = tmp_path / "src/slipway_server/_native.abi3.so"
    module.parent.mkdir(parents=True)
    module.touch()
    data = built(hook, tmp_path, "standard")
    assert data["force_include"] == {str(module): "slipway_server/_native.abi3.so"}
    assert not data["pure_python"]
    assert data["tag"].startswith("cp311-abi3-")
    assert '"abi3-py311"' in (ROOT / "server/native/Cargo.toml").read_text()
    # An editable installation finds it where it is.
    assert built(hook, tmp_path, "editable") == {"force_include": {}, "pure_python": True}


@pytest.mark.parametrize(
    ("system", "library", "tag"),
    [
        ("linux-x86_64", ("glibc", "2.36"), "manylinux_2_36_x86_64"),
        ("linux-aarch64", ("glibc", "2.41"), "manylinux_2_41_aarch64"),
        ("linux-x86_64", ("", ""), "linux_x86_64"),
        ("macosx-14.0-arm64", ("", ""), "macosx_14_0_arm64"),
    ],
)
def test_the_tag_says_where_the_module_runs(
    hook: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    library: tuple[str, str],
    tag: str,
) -> None:
    monkeypatch.setattr(sysconfig, "get_platform", lambda: system)
    assert hook.platform_tag(*library) == tag
