"""Labels without a version, and Deployments that someone has edited."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from fleet import Behaviour, Fleet
from fleets_at_rest import run, serving
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.model.actions import ScaleDeployment
from slipway_operator.planning.decision import decide
from slipway_operator.planning.status.children import edit_messages
from slipway_operator.rendering.settings import RenderSettings


def degraded(fleet: Fleet) -> tuple[str, str, str]:
    found = next(c for c in fleet.status.conditions if c.type is ConditionType.DEGRADED)
    return found.status, found.reason, found.message


def warnings(fleet: Fleet, rounds: int = 12) -> list[tuple[str, str]]:
    told = []
    for _ in range(rounds):
        fleet.poll()
        told += fleet.operate().events
        list(fleet.turn())
    return [(event.reason, event.message) for event in told if event.warning]


def test_a_label_whose_version_was_replaced_is_told_once_with_what_to_do() -> None:
    fleet = serving(labels={"stable": 3})
    assert degraded(fleet)[0] == "False"
    fleet.upload(4)
    text = (
        "label stable: version 3 is not selected by spec.versions, so Service digits-stable refuses "
        "every connection: set spec.versions to {specific: [3, 4]}, or change spec.labels"
    )
    assert warnings(fleet) == [(Reason.LABEL_NOT_SERVED, text)]
    assert degraded(fleet) == ("True", Reason.LABEL_NOT_SERVED, text)
    assert fleet.status.message == text
    fleet.edit(versions={"specific": [3, 4]})
    assert warnings(fleet) == []
    assert degraded(fleet)[0] == "False"
    assert fleet.status.message == ""


@pytest.mark.parametrize(
    ("version", "behaviour", "says"),
    [
        (7, None, "version 7 is not in the source, so Service digits-canary does not exist: upload it"),
        (2, None, "version 2 is not selected by spec.versions, so Service digits-canary does not exist"),
        (4, Behaviour.CORRUPT, ("version 4: LoadFailed: the graph cannot be parsed; label canary: "
         "version 4 is Failed (LoadFailed), so Service digits-canary does not exist: change spec.labels")),
    ],
)  # fmt: skip
def test_a_label_that_never_served(version: int, behaviour: Behaviour | None, says: str) -> None:
    fleet = Fleet()
    fleet.upload(2)
    fleet.upload(3)
    run(fleet)
    if behaviour:
        fleet.upload(version, behaviour)
    fleet.edit(labels={"canary": version})
    run(fleet)
    assert says in degraded(fleet)[2]


def test_a_label_that_still_leads_to_another_version_says_so() -> None:
    fleet = serving(labels={"stable": 3})
    fleet.edit(labels={"stable": 9})
    run(fleet)
    assert "so Service digits-stable still leads to version 3: upload it" in degraded(fleet)[2]


@pytest.mark.parametrize("left", [{}, {"selector": None}])
def test_a_label_service_that_someone_has_taken_the_selector_from_refuses(left: Any) -> None:
    fleet = serving(labels={"stable": 3})
    fleet.edit(labels={"stable": 9})
    child = fleet.services["digits-stable"]
    manifest = dict(deepcopy(child.manifest))
    del manifest["spec"]["selector"]
    manifest["spec"] |= left
    fleet.services["digits-stable"] = replace(child, manifest=manifest)
    fleet.poll()
    message = fleet.plan().status.message
    assert "is not in the source, so Service digits-stable refuses every connection" in message


def test_of_a_version_that_is_not_listed_nothing_is_said_while_the_listing_is_unknown() -> None:
    fleet = Fleet()
    fleet.edit(labels={"stable": 3})
    fleet.upload(3)
    fleet.store_down = True
    run(fleet)
    assert degraded(fleet) == ("True", Reason.UNAVAILABLE, "no answer")
    fleet.store_down = False
    assert warnings(fleet) == []
    fleet.store_down = True
    fleet.upload(4)
    fleet.edit(labels={"stable": 3, "canary": 4})
    run(fleet)
    assert degraded(fleet) == ("True", Reason.UNAVAILABLE, "no answer")


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("version", [2, 7])
def test_a_label_is_told_once_whatever_becomes_of_the_store(
    version: int, *, restarts: bool
) -> None:
    fleet = serving(labels={"canary": version})
    fleet.upload(2)
    run(fleet)
    before = degraded(fleet)
    assert before[1] == Reason.LABEL_NOT_SERVED
    for _ in range(3):
        fleet.store_down = True
        assert [reason for reason, _ in warnings(fleet)] == [Reason.UNAVAILABLE]
        if restarts:
            fleet.restart_operator()
        assert warnings(fleet) == []
        assert degraded(fleet)[2] == f"no answer; {before[2]}"
        fleet.store_down = False
        assert warnings(fleet) == []
        assert degraded(fleet) == before


def test_a_label_that_begins_to_lead_nowhere_beside_other_trouble_is_told() -> None:
    fleet = serving()
    fleet.upload(4, Behaviour.CORRUPT)
    assert [reason for reason, _ in warnings(fleet)] == ["VersionFailed"]
    fleet.edit(labels={"canary": 7})
    [(reason, first)] = warnings(fleet)
    assert (reason, first[:24]) == (Reason.LABEL_NOT_SERVED, "label canary: version 7 ")
    fleet.edit(labels={"canary": 7, "next-one": 8})
    [(reason, both)] = warnings(fleet)
    assert (reason, both.startswith(f"{first}; label next-one: version 8 ")) == (
        Reason.LABEL_NOT_SERVED,
        True,
    )


def test_a_label_of_a_version_on_its_way_is_no_trouble() -> None:
    fleet = serving(labels={"stable": 3})
    fleet.upload(4, Behaviour.HANGING)
    fleet.edit(labels={"stable": 4})
    assert warnings(fleet) == []
    assert degraded(fleet)[0] == "False"


def test_nothing_is_said_of_labels_where_nothing_is_asked_for() -> None:
    fleet = serving(labels={"stable": 9}, serving={"replicas": 0})
    assert degraded(fleet)[0] == "False"


def edited(**edits: Any) -> Fleet:
    fleet = serving(**edits)
    [name] = fleet.deployments
    fleet.edit_template(name, "restartedAt")
    return fleet


def test_an_edited_deployment_is_told_once_and_left_alone() -> None:
    """T8: a template is never edited, not even back."""
    fleet = edited()
    [name] = fleet.deployments
    [(reason, message)] = warnings(fleet)
    assert reason == Reason.TEMPLATE_EDITED
    assert message.startswith(
        f"the pod template of Deployment {name} was edited by kubectl-edit: "
        "spec.template.metadata.annotations.restartedAt; its pods are not what the Model asks for"
    )
    assert degraded(fleet) == ("True", Reason.TEMPLATE_EDITED, message)
    assert fleet.status.message == message
    assert fleet.plan().actions == ()
    fleet.edit_template(name)
    assert warnings(fleet) == []
    assert degraded(fleet)[0] == "False"


SERVER = RenderSettings("server:2", "sync:1")
PROXY = RenderSettings("server:1", "sync:1", proxy="http://proxy.test:3128")
LISTENING = RenderSettings("server:1", "sync:1", allowed_networks=("10.0.0.0/8",))


def messages_after(fleet: Fleet, image: str, settings: RenderSettings, *, noted: bool) -> list[str]:
    """What is said once the image of a Deployment was set to another one, and then to this one."""
    observed = fleet.observe()
    [found] = observed.deployments
    manifest = deepcopy(fleet.deployments[found.name].manifest)
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = image
    if not noted:
        manifest["metadata"]["annotations"].pop("slipway.dev/template", None)
    of_server = {"f:containers": {'k:{"name":"server"}': {"f:image": {}}}}
    manifest["metadata"]["managedFields"] = [
        {"manager": manager, "fieldsV1": {"f:spec": {"f:template": {"f:spec": fields}}}}
        for manager, fields in (("slipway", {"f:containers": {}}), ("kubectl-set", of_server))
    ]
    edited_one = replace(found, edited=manifest)
    decision = decide(replace(observed, deployments=(edited_one,)), settings, fleet.now)
    assert found.servable in decision.desired.ids
    return list(edit_messages(decision).values())


@pytest.mark.parametrize("settings", [SERVER, PROXY, LISTENING])
@pytest.mark.parametrize("noted", [True, False])
def test_a_template_that_would_be_rendered_otherwise_today_is_not_called_edited(
    settings: RenderSettings, *, noted: bool
) -> None:
    fleet = serving()
    assert messages_after(fleet, "server:1", settings, noted=noted) == []


def test_a_template_is_called_edited_only_where_it_is_known_what_it_was() -> None:
    fleet = serving()
    same = fleet.settings
    assert messages_after(fleet, "server:1", same, noted=True) == []
    [message] = messages_after(fleet, "other:1", same, noted=True)
    assert "edited by kubectl-set: spec.template.spec.containers[server].image; its" in message
    assert messages_after(fleet, "other:1", same, noted=False) == []


def test_no_advice_stops_the_pods_that_serve() -> None:
    fleet = serving()
    [message] = messages_after(fleet, "other:1", fleet.settings, noted=True)
    assert message.endswith("the operator edits no template: put the fields back")


def test_an_edit_beside_other_trouble_is_told() -> None:
    fleet = serving(labels={"canary": 7})
    [name] = fleet.deployments
    fleet.edit_template(name, "restartedAt")
    assert [reason for reason, _ in warnings(fleet)] == [Reason.TEMPLATE_EDITED]


def test_an_edited_deployment_is_replaced_like_any_other() -> None:
    fleet = edited()
    [name] = fleet.deployments
    run(fleet)
    fleet.upload(4)
    fleet.poll()
    for _ in range(12):
        assert all(not isinstance(a, ScaleDeployment) or a.uid for a in fleet.plan().actions)
        run(fleet, 1)
    assert (fleet.status.phase, degraded(fleet)[0]) == ("Available", "False")
    assert name not in fleet.deployments


def test_no_more_fields_are_named_than_fit_a_sentence() -> None:
    fleet = serving()
    [name] = fleet.deployments
    fleet.edit_template(name, *(f"f{n}" for n in range(9)))
    [message] = edit_messages(decide(fleet.observe(), fleet.settings, fleet.now)).values()
    assert "spec.template.metadata.annotations.f4 and 4 more; its pods" in message
