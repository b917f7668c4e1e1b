"""A plug-in's policy decides for the manager, and can harm nobody."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from slipway_server.core.plugin_policy import checked, policy_named
from slipway_server.core.policies import POLICIES, Action, Snapshot, Step
from slipway_server.core.version_state_machine import State
from slipway_server.plugins import api

MANAGED = (
    Snapshot(1, State.READY, aspired=False),
    Snapshot(2, State.NEW, aspired=True),
    Snapshot(3, State.NEW, aspired=False),
    Snapshot(4, State.ERROR, aspired=True),
)


def test_the_servers_own_policies_have_their_names() -> None:
    assert all(policy_named(name) is policy for name, policy in POLICIES.items())


def test_every_state_has_a_word_for_plug_ins() -> None:
    seen: list[api.Version] = []

    def choose(versions: Sequence[api.Version]) -> None:
        seen.extend(versions)

    states = list(State)
    checked("p", choose)([Snapshot(n, state, aspired=True) for n, state in enumerate(states)])
    by_state = {state: one.state for state, one in zip(states, seen, strict=True)}
    assert by_state[State.NEW] is api.VersionState.NEW
    assert by_state[State.READY] is api.VersionState.READY
    assert by_state[State.QUIESCED] is api.VersionState.UNLOADING
    assert by_state[State.ERROR] is api.VersionState.FAILED


@pytest.mark.parametrize(
    ("chosen", "action"),
    [
        (None, None),
        (api.Load(2), Action(Step.LOAD, 2)),
        (api.Unload(1), Action(Step.UNLOAD, 1)),
    ],
)
def test_what_it_chooses_is_done(chosen: api.Action | None, action: Action | None) -> None:
    assert checked("p", lambda _versions: chosen)(MANAGED) == action


@pytest.mark.parametrize(
    ("chosen", "trouble"),
    [
        (api.Load(1), "it loads version 1, which is ready and not aspired"),
        (api.Load(3), "it loads version 3, which is new and not aspired"),
        (api.Unload(4), "it unloads version 4, which is failed"),
        (api.Load(9), "it chose version 9, which it was not asked about"),
        ("load 2", "it returned 'load 2', which is neither Load, Unload nor None"),
    ],
)
def test_what_is_not_possible_is_logged_once_and_not_done(chosen: object, trouble: str) -> None:
    policy = checked("p", lambda _versions: chosen)  # type: ignore[arg-type,return-value]
    with capture_logs() as logs:
        assert policy(MANAGED) is None
        assert policy(MANAGED) is None
    assert [(line["policy"], line["error"]) for line in logs] == [("p", trouble)]


def test_an_error_is_logged_and_not_raised() -> None:
    def fails(_versions: Sequence[api.Version]) -> None:
        raise KeyError("x")

    with capture_logs() as logs:
        assert checked("p", fails)(MANAGED) is None
    assert [line["error"] for line in logs] == ["it raised KeyError: 'x'"]
