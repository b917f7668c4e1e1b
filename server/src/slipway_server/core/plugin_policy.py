"""A policy from a plug-in, as the manager asks it: what it says is checked, and its errors harm nobody."""

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from slipway_server.core.policies import POLICIES, Action, Policy, Snapshot, Step
from slipway_server.core.version_state_machine import State
from slipway_server.plugins import api
from slipway_server.plugins.entry_points import Group, load

_log = structlog.get_logger("slipway_server.manager")

_STATES: Final[Mapping[State, api.VersionState]] = {
    State.NEW: api.VersionState.NEW,
    State.LOAD_REQUESTED: api.VersionState.LOADING,
    State.LOAD_APPROVED: api.VersionState.LOADING,
    State.LOADING: api.VersionState.LOADING,
    State.READY: api.VersionState.READY,
    State.UNLOAD_REQUESTED: api.VersionState.UNLOADING,
    State.QUIESCING: api.VersionState.UNLOADING,
    State.QUIESCED: api.VersionState.UNLOADING,
    State.UNLOADING: api.VersionState.UNLOADING,
    State.DISABLED: api.VersionState.UNLOADED,
    State.ERROR: api.VersionState.FAILED,
}


def policy_named(name: str) -> Policy:
    """Return a policy of the server, or else a plug-in's.

    Raises:
        ServingError: INVALID_ARGUMENT; the plug-in cannot be used.
    """
    return POLICIES.get(name) or checked(name, load(Group.POLICIES, name))


def checked(name: str, choose: api.Policy) -> Policy:
    """Return a plug-in's policy as one of the server's."""
    said = ""

    def policy(managed: Sequence[Snapshot]) -> Action | None:
        nonlocal said
        versions = tuple(
            api.Version(one.version, _STATES[one.state], one.aspired) for one in managed
        )
        try:
            action, trouble = _action(choose(versions), versions)
        except Exception as error:  # noqa: BLE001 - it is asked again, and the other models go on
            action, trouble = None, f"it raised {type(error).__name__}: {error}"
        if trouble and trouble != said:
            _log.error("policy not followed", policy=name, error=trouble)
        said = trouble
        return action

    return policy


def _action(chosen: object, versions: Sequence[api.Version]) -> tuple[Action | None, str]:
    """Return what a policy has chosen, or what is wrong with it."""
    states = {one.number: one for one in versions}
    match chosen:
        case None:
            return None, ""
        case api.Load(version=number) if (one := states.get(number)) is not None:
            if one.aspired and one.state is api.VersionState.NEW:
                return Action(Step.LOAD, number), ""
            return None, f"it loads version {number}, which is {_described(one)}"
        case api.Unload(version=number) if (one := states.get(number)) is not None:
            if one.state is api.VersionState.READY:
                return Action(Step.UNLOAD, number), ""
            return None, f"it unloads version {number}, which is {_described(one)}"
        case api.Load(version=number) | api.Unload(version=number):
            return None, f"it chose version {number}, which it was not asked about"
        case _:
            return None, f"it returned {chosen!r}, which is neither Load, Unload nor None"


def _described(version: api.Version) -> str:
    return version.state if version.aspired else f"{version.state} and not aspired"
