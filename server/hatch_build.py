"""The wheel: with the native front where that was built (`server/native/build`), else one for every platform."""

import platform
import sysconfig
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE: Final = "slipway_server/_native.abi3.so"
OLDEST_PYTHON: Final = "cp311-abi3"
"""As Cargo.toml has it: abi3-py311."""


class NativeFrontHook(BuildHookInterface[Any]):
    """Puts the extension module into the wheel and names the platform that it was built for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hatchling calls this before it builds a wheel."""
        module = Path(self.root, "src", MODULE)
        if version != "standard" or not module.exists():
            return
        build_data["force_include"][str(module)] = MODULE
        build_data["pure_python"] = False
        build_data["tag"] = f"{OLDEST_PYTHON}-{platform_tag(*platform.libc_ver())}"


def platform_tag(library: str, version: str) -> str:
    """Return the tag of this machine's platform: what was linked here needs no newer glibc than there is here.

    >>> platform_tag("glibc", "2.36").startswith("manylinux_2_36_")
    True
    """
    system, _, machine = sysconfig.get_platform().partition("-")
    if (system, library) != ("linux", "glibc"):
        return sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"manylinux_{version.replace('.', '_')}_{machine}"
