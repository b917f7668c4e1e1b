"""Reaches TensorFlow's library and messages without importing its Python package.

`import tensorflow` runs two `__init__` modules that import everything models are built and trained with: two to three
seconds of a processor and 200 MiB that a server never uses. The generated messages need none of that, nor does the
shared library, which `servables.tensorflow.c_api` loads. `make_packages_known` makes the two packages known without
running their `__init__`, so that messages are imported under their own names.

What only Python has, TensorFlow Lite's interpreter and the profiler's server, is imported when a flag asks for it, and
alone where that works.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, Final

import structlog

_PACKAGES: Final = ("tensorflow", "tensorflow.python")


def make_packages_known() -> None:
    """Put the packages where imports look for them, with their paths and without their content.

    To be called before anything imports a part of TensorFlow. A process that has imported the package already, as a
    test has, goes on with that.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
    """
    if _PACKAGES[0] in sys.modules:
        return
    path = None
    for name in _PACKAGES:
        spec, path = _found(name, path)
        sys.modules[name] = module_from_spec(spec)


def libraries() -> Path:
    """Return the directory with TensorFlow's shared libraries.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
    """
    # Not the package's own `__path__`, which the package changes.
    _, path = _found(_PACKAGES[0], None)
    return Path(path[0])


def c_api_library() -> Path:
    """Return the one of them with TensorFlow's C API; raises as `libraries`."""
    return libraries() / "libtensorflow_cc.so.2"


def _found(package: str, path: list[str] | None) -> tuple[ModuleSpec, list[str]]:
    """Return where a package is, and its own path."""
    spec = PathFinder.find_spec(package, path)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"there is no package {package}", name=package)
    return spec, spec.submodule_search_locations


def import_part(module: str) -> Any:
    """Import a module of the package, or one of this server that needs some; if need be with the whole package."""
    make_packages_known()
    try:
        return importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - whatever it is, the package itself knows better
        structlog.get_logger("slipway_server").warning(
            "importing all of TensorFlow's Python package",
            reason=f"{type(error).__name__}: {error}",
        )
        _import_whole()
        return importlib.import_module(module)


def _import_whole() -> None:
    """Import the whole package, if it is not there yet."""
    if hasattr(sys.modules.get(_PACKAGES[0]), "__version__"):
        return
    for name in _PACKAGES:
        sys.modules.pop(name, None)
    importlib.import_module(_PACKAGES[0])
    for name, module in list(sys.modules.items()):
        # What was imported before its package is not an attribute of it yet.
        parent, _, own = name.rpartition(".")
        if name.startswith(f"{_PACKAGES[0]}.") and not hasattr(sys.modules.get(parent), own):
            setattr(sys.modules[parent], own, module)
