"""A policy: aspired versions are loaded in their order, the oldest first, and none is skipped."""

from collections.abc import Sequence

from slipway_server.plugins.api import Action, Load, Unload, Version, VersionState


def in_order(versions: Sequence[Version]) -> Action | None:
    """Load the oldest new version; unload what is not wanted once all that is wanted has been tried.

    >>> new = [Version(2, VersionState.NEW, True), Version(1, VersionState.NEW, True)]
    >>> in_order(new)
    Load(version=1)
    """
    wanted = sorted((one for one in versions if one.aspired), key=lambda one: one.number)
    if any(one.state is VersionState.LOADING for one in wanted):
        return None
    for one in wanted:
        if one.state is VersionState.NEW:
            return Load(one.number)
    answers = any(one.state is VersionState.READY for one in wanted)
    for one in versions:
        if not one.aspired and one.state is VersionState.READY and (answers or not wanted):
            return Unload(one.number)
    return None
