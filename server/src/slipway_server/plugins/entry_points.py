"""Finds plug-ins by the name that a configuration gives; none is imported that nobody names."""

import threading
from collections.abc import Callable
from enum import StrEnum
from importlib import metadata
from typing import Any, Final

from slipway_server.errors import ServingError, invalid_argument

API_VERSION: Final = 1
"""Of `plugins.api`, which is imported by plug-ins only."""


class Group(StrEnum):
    """A kind of plug-ins: the group of their entry points."""

    SERVABLES = "slipway.servables"
    SOURCES = "slipway.sources"
    POLICIES = "slipway.policies"


_loaded: Final[dict[tuple[Group, str], Callable[..., Any]]] = {}
_loading: Final = threading.Lock()


def names(group: Group) -> tuple[str, ...]:
    """Return the names of the plug-ins of a kind that are installed, sorted."""
    return tuple(sorted({one.name for one in metadata.entry_points(group=group.value)}))


def installed_text(group: Group) -> str:
    """Return the end of a sentence about an unknown plug-in.

    >>> installed_text(Group.POLICIES)
    'no plug-in of slipway.policies is installed'
    """
    found = names(group)
    if not found:
        return f"no plug-in of {group} is installed"
    return f"the plug-ins of {group} that are installed: {', '.join(found)}"


def load(group: Group, name: str) -> Callable[..., Any]:
    """Import a plug-in, once, and return what its entry point names.

    Raises:
        ServingError: INVALID_ARGUMENT; there is none, or it cannot be used: which distribution it is from, and why.
    """
    with _loading:
        if (found := _loaded.get((group, name))) is None:
            found = _loaded[group, name] = _import(group, name)
        return found


def _import(group: Group, name: str) -> Callable[..., Any]:
    found = sorted(
        metadata.entry_points(group=group.value, name=name),
        key=lambda one: (one.value, _origin(one)),
    )
    if not found:
        raise invalid_argument(f"There is no plug-in {name}; {installed_text(group)}")
    point = found[0]
    if any(other.value != point.value for other in found):
        raise invalid_argument(
            f"Plug-in {name} of {group} is in several distributions: "
            f"{', '.join(sorted({_origin(one) for one in found}))}; uninstall all but one"
        )
    try:
        plugin = point.load()
    except (Exception, SystemExit) as error:
        raise _unusable(group, point, f"{type(error).__name__}: {error}") from error
    if not callable(plugin):
        raise _unusable(group, point, f"{point.value} is no function or class")
    version = getattr(plugin, "api_version", API_VERSION)
    if version != API_VERSION:
        raise _unusable(
            group,
            point,
            f"it is written for version {version} of the API, and this server has {API_VERSION}",
        )
    return plugin  # type: ignore[no-any-return] # whatever the distribution says it is


def _unusable(group: Group, point: metadata.EntryPoint, why: str) -> ServingError:
    sentence = " ".join(why.split())
    return invalid_argument(
        f"Plug-in {point.name} of {group}, from distribution {_origin(point)}, cannot be imported: {sentence}"
    )


def _origin(point: metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "unknown"
