"""Which models run on the thread of their caller: the flag and the rule (performance of a single call)."""

from __future__ import annotations

import pytest

from slipway_server.errors import ServingError
from slipway_server.servables.tensorflow.threads import Choice, ThreadRule, read_rule

NO_GRAPH = b""


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("auto", ThreadRule(Choice.AUTO, {}, 8)),
        ("true", ThreadRule(Choice.CALLER, {}, 8)),
        ("false", ThreadRule(Choice.POOL, {}, 8)),
        ("", ThreadRule(Choice.AUTO, {}, 8)),
        ("false,a=true,b=auto", ThreadRule(Choice.POOL, {"a": Choice.CALLER, "b": Choice.AUTO}, 8)),
        ("a=b=false", ThreadRule(Choice.AUTO, {"a=b": Choice.POOL}, 8)),
    ],
)
def test_what_the_flag_says(text: str, rule: ThreadRule) -> None:
    assert read_rule(text, 8) == rule


@pytest.mark.parametrize("text", ["yes", "auto,a", "a=1", "auto,=", "TRUE"])
def test_what_it_cannot_say(text: str) -> None:
    with pytest.raises(ServingError, match="must be one of auto, false, true"):
        read_rule(text, 8)


def test_a_models_own_choice_goes_before_the_default() -> None:
    rule = read_rule("true,wide=false", 8)
    assert rule.on_caller("narrow", NO_GRAPH)
    assert not rule.on_caller("wide", NO_GRAPH)


def test_a_graph_that_holds_its_weights_is_not_looked_at() -> None:
    assert read_rule("auto", 8).on_caller("m", b"no graph" * (1 << 21))


def test_few_processors_need_no_look_at_the_graph() -> None:
    assert read_rule("auto", 3).on_caller("m", b"no graph")
