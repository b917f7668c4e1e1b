"""Imports TensorFlow's library without what its Python package is otherwise made of.

`import tensorflow` runs two `__init__` modules that import everything models are built and trained with: two to three
seconds of a processor and 200 MiB that a server never uses. The modules that it does use (`names`) need none of that.
`import_library` makes the two packages known without running their `__init__`, so that these modules are imported under
their own names; where that does not work it imports the whole package, and nothing else is different.
"""

import importlib
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Final

_PACKAGES: Final = ("tensorflow", "tensorflow.python")
_NAMES: Final = "slipway_server.tensorflow_library.names"


def import_library() -> str:
    """Import what is needed of TensorFlow; to be called before anything imports another part of it.

    A process that has imported the package already, as a test has, goes on with that.

    Returns:
        Why the whole package had to be imported; empty when it was not.
    """
    if _PACKAGES[0] in sys.modules:
        return ""
    try:
        _make_known()
        importlib.import_module(_NAMES)
    except Exception as error:  # noqa: BLE001 - whatever it is, the package itself knows better
        import_whole()
        return f"{type(error).__name__}: {error}"
    return ""


def _make_known() -> None:
    """Put the packages where imports look for them, with their paths and without their content."""
    path = None
    for name in _PACKAGES:
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"there is no package {name}", name=name)
        sys.modules[name] = module_from_spec(spec)
        path = spec.submodule_search_locations


def import_whole() -> None:
    """Import the whole package, if it is not there yet, for what only it can do."""
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
