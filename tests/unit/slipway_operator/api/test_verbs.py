"""What annotations ask for: every value is understood, or becomes one sentence."""

import pytest

from slipway_operator.api.resource import parse
from slipway_operator.api.spec import VersionPolicy
from slipway_operator.api.verbs import EXAMPLES, FORMS, Request, Verb, Verbs, read_verbs

HOSTILE = (
    "", " ", "v7", "-1", "+7", "7.0", "7/", "/1", "7/0", "7/-1", "7/1/2", "7 8", "latest", "٧", "²", "0x7",
    "1e3", str(2**63), "9" * 5000, "7\n8", "null", "[7]", "{{7}}", "\x00",
)  # fmt: skip


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_a_value_that_cannot_be_used_becomes_one_sentence(verb: Verb, value: str) -> None:
    others = {other.annotation: EXAMPLES[other] for other in Verb if other is not verb}
    read = read_verbs({verb.annotation: value, **others})
    assert getattr(read, verb) is None
    [problem] = read.problems
    assert problem.startswith(f"annotation {verb.annotation} has the value ")
    assert problem.isprintable()
    assert len(problem) < 250
    assert all(getattr(read, other) is not None for other in Verb if other is not verb)


@pytest.mark.parametrize(
    ("verb", "value", "request_"),
    [
        (Verb.PROMOTE, "7", Request(7)),
        (Verb.APPROVE, "7/2", Request(7, 2)),
        (Verb.ABORT, "7", Request(7)),
        (Verb.ABORT, "7/2", Request(7, 2)),
        (Verb.RETRY, " 00000007 ", Request(7)),
        (Verb.RETRY, "7/3", Request(7, 3)),
        (Verb.ROLLBACK, "0", Request(0)),
        (Verb.ROLLBACK, str(2**63 - 1), Request(2**63 - 1)),
    ],
)
def test_a_value_names_a_version(verb: Verb, value: str, request_: Request) -> None:
    assert read_verbs({verb.annotation: value}) == Verbs(**{verb.value: request_})


@pytest.mark.parametrize(
    ("verb", "value"), [("approve", "7"), ("promote", "7/1"), ("rollback", "6/1")]
)
def test_a_step_is_named_where_there_is_one_and_nowhere_else(verb: str, value: str) -> None:
    assert len(read_verbs({f"slipway.dev/{verb}": value}).problems) == 1


def test_other_annotations_say_nothing() -> None:
    assert (
        read_verbs({"slipway.dev/hosts": "x", "promote": "7", "example.com/abort": "7"}) == Verbs()
    )


def test_each_verb_has_a_form_and_an_example_that_can_be_used() -> None:
    assert set(FORMS) == set(EXAMPLES) == set(Verb)
    assert not read_verbs({verb.annotation: EXAMPLES[verb] for verb in Verb}).problems


def test_what_is_asked_for_is_about_one_version() -> None:
    verbs = read_verbs({"slipway.dev/promote": "7", "slipway.dev/approve": "8/2"})
    assert [verbs.promotes(7), verbs.promotes(8)] == [True, False]
    assert [verbs.approved_step(7), verbs.approved_step(8)] == [0, 2]
    assert Verbs().pinned is None


def test_a_pinned_version_takes_the_place_of_the_policy() -> None:
    body = {
        "metadata": {"namespace": "ml", "name": "digits", "uid": "u"},
        "spec": {"source": {"uri": "s3://models/digits"}, "versions": {"latest": 2}},
    }
    assert parse(body).versions == VersionPolicy(latest=2)
    body["metadata"]["annotations"] = {"slipway.dev/rollback": "6"}
    pinned = parse(body)
    assert pinned.versions == VersionPolicy(specific=[6])
    assert pinned.spec.versions == VersionPolicy(latest=2)
