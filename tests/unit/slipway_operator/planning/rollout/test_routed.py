"""What is read out of a route's status: each controller's answer by itself, and of it what is about the route."""

from typing import Any

import pytest

from slipway_operator.model.observed import Child
from slipway_operator.planning.rollout.routed import Answer, answers
from snapshots import model, observed

PARENT = {"name": "public", "namespace": "ingress"}


def said(controller: str, **conditions: tuple[str, int | None]) -> dict[str, Any]:
    """An entry of status.parents: by type, the condition's status and the generation that it is about."""
    return {
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", **PARENT},
        "controllerName": controller,
        "conditions": [
            {"type": kind, "status": status, "reason": "Why", "message": "words"}
            | ({} if generation is None else {"observedGeneration": generation})
            for kind, (status, generation) in conditions.items()
        ],
    }


ENTRIES = {
    "none": ([], None, True),
    "accepts": ([said("a", Accepted=("True", 5), ResolvedRefs=("True", 5))], True, True),
    "accepts, of no generation": ([said("a", Accepted=("True", None))], True, True),
    "refuses": ([said("a", Accepted=("True", 5), ResolvedRefs=("False", 5))], False, True),
    "lags": ([said("a", Accepted=("True", 4), ResolvedRefs=("True", 5))], None, False),
    "refused before": ([said("a", Accepted=("False", 4))], None, False),
    "has said nothing of it": ([said("a", Accepted=("True", 5)) | {"conditions": []}], None, False),
    "has a condition of its own that is old": (
        [said("a", Accepted=("True", 5), ResolvedRefs=("True", 5), **{"x.io/Warmed": ("False", 2)})],
        True,
        True,
    ),
    "has only a condition of its own": ([said("a", **{"x.io/Warmed": ("True", 5)})], None, False),
    "another one was there": (
        [said("gone", Accepted=("True", 2), ResolvedRefs=("True", 2)), said("a", Accepted=("True", 5))],
        True,
        True,
    ),
    "another one refused": (
        [said("a", Accepted=("True", 5)), said("gone", Accepted=("False", 2))],
        True,
        True,
    ),
    "another one is silent": (
        [said("gone") | {"conditions": None}, said("a", Accepted=("True", 5))],
        True,
        True,
    ),
    "another one refuses": (
        [said("a", Accepted=("True", 5)), said("b", Accepted=("False", 5))],
        False,
        True,
    ),
    "all lag": ([said("a", Accepted=("True", 4)), said("b", Accepted=("True", 3))], None, False),
    "is about another gateway": (
        [said("a", Accepted=("True", 4)) | {"parentRef": {"name": "inner"}}],
        None,
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENTRIES)
def test_an_answer_is_that_of_the_controllers_that_have_looked(name: str) -> None:
    entries, accepted, current = ENTRIES[name]
    manifest = {
        "metadata": {"name": "digits", "namespace": "ml", "generation": 5},
        "spec": {"parentRefs": [PARENT]},
        "status": {"parents": entries},
    }
    route = Child("digits", "r", manifest)
    seen = observed(model(), children={"HTTPRoute": {"digits": route}})
    message = "Why: words" if accepted is False else ""
    assert list(answers(seen)) == [
        Answer("HTTPRoute digits", "ingress/public", accepted, current, message)
    ]
