"""What claims allow, and what has to stay in a cache."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import Fleet
from histories import EVENTS, Event, History
from slipway_operator.api.conditions import ConditionType, Reason
from slipway_operator.api.status import ModelStatus, VersionState
from slipway_operator.cluster import reading
from slipway_operator.model import actions
from slipway_operator.model.actions import Action, Plan
from slipway_operator.model.observed import Child, Observed
from slipway_operator.model.pvc import Claim, Refusal, Sharing
from slipway_operator.planning.capacity.scaling import Fleet as Scaled
from slipway_operator.planning.capacity.scaling import Limits, scale
from slipway_operator.planning.plan import plan
from slipway_operator.planning.volumes.pvc import CLAIM_INTERVAL, sharing_of, volume_of
from slipway_operator.rendering.pvc import KEEP_KEY
from slipway_operator.rendering.settings import RenderSettings
from snapshots import T0, deployment, key, listed, model, observed, pods, revision, row

SETTINGS = RenderSettings("server:1", "sync:1")
CACHED = {"replicas": 1, "cache": {"persistentVolumeClaim": "shelf"}}
TEMPLATE = {"size": "10Gi", "accessModes": ["ReadWriteOnce"]}
OWN = {"replicas": 1, "cache": {"claimTemplate": TEMPLATE}}
RESOURCE = {"policy": "ResourcePreserving"}


def claim(*modes: str, **more: Any) -> Claim:
    return Claim("shelf", "uid-shelf", frozenset(modes), **more)


MANY = claim("ReadWriteMany")


def planned(state: Observed) -> Plan:
    return plan(state, SETTINGS, T0)


def of_kind(state: Observed, *kinds: type[Action]) -> list[Action]:
    return [action for action in planned(state).actions if isinstance(action, kinds)]


def condition(status: ModelStatus, kind: ConditionType) -> tuple[str, str, str]:
    found = next(c for c in status.conditions if c.type is kind)
    return found.status, found.reason, found.message


@pytest.mark.parametrize(
    ("modes", "cache", "source"),
    [
        ({"ReadWriteMany"}, Sharing.ANYWHERE, Sharing.ANYWHERE),
        ({"ReadWriteMany", "ReadWriteOnce"}, Sharing.ANYWHERE, Sharing.ANYWHERE),
        ({"ReadWriteOnce"}, Sharing.ONE_NODE, Sharing.ONE_NODE),
        ({"ReadWriteOnce", "ReadOnlyMany"}, Sharing.ONE_NODE, Sharing.ANYWHERE),
        ({"ReadWriteOncePod"}, Sharing.ONE_POD, Sharing.ONE_POD),
        ({"ReadOnlyMany"}, None, Sharing.ANYWHERE),
        (set(), None, None),
    ],
)
def test_access_modes_say_who_may_mount(
    modes: set[str], cache: Sharing | None, source: Sharing | None
) -> None:
    assert sharing_of(modes, read_only=False) is cache
    assert sharing_of(modes, read_only=True) is source


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (None, Reason.CLAIM_MISSING, "claim ml/shelf does not exist"),
        (claim("ReadOnlyMany"), Reason.CLAIM_UNUSABLE, "allows ReadOnlyMany only"),
        (claim("ReadWriteMany", phase="Lost"), Reason.CLAIM_UNUSABLE, "has lost its volume"),
        (claim("ReadWriteMany", deleting=True), Reason.CLAIM_UNUSABLE, "is being deleted"),
    ],
)
def test_a_claim_that_cannot_be_used_starts_nothing_and_stops_nothing(
    found: Claim | None, reason: Reason, words: str
) -> None:
    of = model(serving=CACHED, transition=RESOURCE)
    nothing_yet = observed(of, source=listed(1), claim=found)
    plan_ = planned(nothing_yet)
    assert not of_kind(nothing_yet, actions.CreateDeployment)
    assert plan_.requeue == CLAIM_INTERVAL
    assert plan_.status.phase == "WaitingForVolume"
    status, said, message = condition(plan_.status, ConditionType.DEGRADED)
    assert (status, said) == ("True", reason)
    assert words in message
    assert plan_.status.message == message
    assert plan_.status.versions[0].state is VersionState.UNSCHEDULABLE

    old = deployment(of, 1, 1, rendered="0ld0ld00")
    serving = observed(
        model([row(1, available_key="0ld0ld00")], serving=CACHED, transition=RESOURCE),
        source=listed(1, 2), claim=found, deployments=(old,), pods=pods(old, 1),
    )  # fmt: skip
    assert not of_kind(serving, actions.CreateDeployment, actions.ScaleDeployment)


def test_a_claim_of_another_owner_is_never_taken_for_the_models_own() -> None:
    state = observed(
        model(serving=OWN), source=listed(1),
        claim=claim("ReadWriteMany"), foreign=frozenset({"PersistentVolumeClaim/digits-cache"}),
    )  # fmt: skip
    assert not of_kind(state, actions.CreateClaim, actions.GrowClaim, actions.CreateDeployment)
    assert planned(state).status.phase == "WaitingForVolume"
    assert "digits-cache" in planned(state).status.message


def test_the_own_claim_is_made_before_the_pods_that_mount_it() -> None:
    made = planned(observed(model(serving=OWN), source=listed(1))).actions
    kinds = [actions.operation(action) for action in made]
    order = ["CreateClaim", "ApplyConfigMap", "CreateDeployment"]
    assert [kind for kind in kinds if kind in order] == order


@pytest.mark.parametrize(
    ("has", "template", "wanted"),
    [("10Gi", "10Gi", 0), ("10Gi", "11Gi", 11 << 30), ("10Gi", "5Gi", 0), ("10Gi", "10240Mi", 0)],
)
def test_the_own_claim_grows_and_is_edited_in_no_other_way(
    has: str, template: str, wanted: int
) -> None:
    cache = {"claimTemplate": TEMPLATE | {"size": template, "storageClassName": "other"}}
    of = model(serving={"replicas": 1, "cache": cache})
    there = reading.claim(
        {
            "metadata": {"name": "digits-cache", "uid": "c", "ownerReferences": [{"uid": "u"}]},
            "spec": {
                "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": has}},
            },
            "status": {"phase": "Bound"},
        },
        "u",
    )  # fmt: skip
    state = observed(of, source=listed(1), claim=there)
    grown = of_kind(state, actions.GrowClaim, actions.CreateClaim)
    assert grown == ([actions.GrowClaim("digits-cache", "c", wanted)] if wanted else [])
    refusal = Refusal(wanted, "the StorageClass does not allow it")
    state = replace(state, refusal=refusal)
    assert not of_kind(state, actions.GrowClaim)
    if wanted:
        again = replace(state, refusal=replace(refusal, retry=True))
        assert of_kind(again, actions.GrowClaim) == grown
        said = condition(planned(state).status, ConditionType.DEGRADED)
        assert said[1] == Reason.CLAIM_NOT_GROWN
        assert "the StorageClass does not allow it" in said[2]


def test_a_claim_that_may_not_be_made_is_told_of_and_tried_again() -> None:
    refusal = Refusal(10 << 30, "exceeded quota")
    state = observed(model(serving=OWN), source=listed(1), refusal=refusal)
    assert not of_kind(state, actions.CreateClaim, actions.CreateDeployment)
    assert "digits-cache cannot be created: exceeded quota" in planned(state).status.message
    again = replace(state, refusal=replace(refusal, retry=True))
    assert of_kind(again, actions.CreateClaim)
    assert not of_kind(again, actions.CreateDeployment)
    assert planned(again).status == planned(state).status


def test_a_claim_that_grows_is_no_transition_and_another_claim_is() -> None:
    def key_of(**cache: Any) -> str:
        return key(model(serving={"replicas": 1, "cache": cache}), 3)

    assert key_of(claimTemplate=TEMPLATE) == key_of(claimTemplate=TEMPLATE | {"size": "99Gi"})
    keys = {
        key_of(claimTemplate=TEMPLATE), key_of(persistentVolumeClaim="shelf"),
        key_of(persistentVolumeClaim="other"), key(model(serving={"replicas": 1}), 3),
    }  # fmt: skip
    assert len(keys) == 4


def test_one_pod_at_a_time_can_mount_read_write_once_pod() -> None:
    def fleet(name: str, **more: Any) -> Scaled:
        plain = {"desired": True, "exists": True, "selected": False, "mounts": True}
        numbers = dict.fromkeys(
            ("version", "replicas", "live", "ready", "endpoints", "matched", "terminating"), 0
        )
        return Scaled(id=name, **(numbers | plain | more))

    surge = Limits(replicas=1, surge=1, floor=1, mounting=1)
    old = {"replicas": 1, "live": 1, "ready": 1, "endpoints": 1, "matched": 1, "selected": True}
    assert scale([fleet("new"), fleet("old", desired=False, **old)], surge) == {"new": 0, "old": 1}
    # What mounts something else does not count, and what terminates does.
    elsewhere = fleet("old", desired=False, mounts=False, **old)
    assert scale([fleet("new"), elsewhere], surge) == {"new": 1, "old": 1}
    assert scale([fleet("new"), fleet("old", desired=False, terminating=1)], surge)["new"] == 0
    gap = Limits(replicas=1, surge=0, floor=0, mounting=1)
    assert scale([fleet("new"), fleet("old", desired=False, terminating=1)], gap)["new"] == 0
    assert scale([fleet("new"), fleet("old", desired=False)], gap)["new"] == 1
    assert scale([fleet("new")], Limits(3, 1, 3, mounting=1)) == {"new": 1}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "a new version starts beside the old one"),
        ({"serving": {**CACHED, "replicas": 2}, "transition": RESOURCE}, "replicas is 2"),
        ({"versions": {"latest": 2}, "transition": RESOURCE}, "several versions"),
        ({"versions": {"all": True}, "transition": RESOURCE}, "several versions"),
        ({"transition": RESOURCE}, ""),
    ],
)
def test_what_one_pod_at_a_time_cannot_do_is_said(spec: dict[str, Any], words: str) -> None:
    of = model(**({"serving": CACHED} | spec))
    state = observed(of, source=listed(1), claim=claim("ReadWriteOncePod"))
    said = volume_of(state).exclusive
    assert bool(said) == bool(words)
    assert words in said
    status, reason, message = condition(planned(state).status, ConditionType.DEGRADED)
    assert (status, reason) == (
        ("True", Reason.CLAIM_EXCLUSIVE) if words else ("False", "AsDesired")
    )
    assert said in message
    # The first pod could attach the volume, so it comes.
    [created] = of_kind(state, actions.CreateDeployment)
    assert created.manifest["spec"]["replicas"] == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("modes", "affine"), [({"ReadWriteOnce"}, True), ({"ReadWriteMany"}, False)]
)
def test_pods_of_a_volume_that_one_node_attaches_go_there(modes: set[str], affine: bool) -> None:  # noqa: FBT001
    state = observed(model(serving=CACHED), source=listed(1), claim=claim(*modes))
    [created] = of_kind(state, actions.CreateDeployment)
    template = created.manifest["spec"]["template"]  # type: ignore[union-attr]
    assert template["metadata"]["labels"]["slipway.dev/volume"] == "shelf"
    terms = template["spec"].get("affinity", {}).get("podAffinity", {})
    wanted = [
        {
            "labelSelector": {"matchLabels": {"slipway.dev/volume": "shelf"}},
            "topologyKey": "kubernetes.io/hostname",
        }
    ]
    assert terms.get("requiredDuringSchedulingIgnoredDuringExecution", []) == wanted * affine


def applied(state: Observed, kind: str) -> list[actions.Apply]:
    made = planned(state).actions
    return [a for a in made if isinstance(a, actions.Apply) and a.kind == kind]


def kept(state: Observed) -> list[str]:
    [action] = applied(state, "ConfigMap")
    names: list[str] = json.loads(action.manifest["data"][KEEP_KEY])["keep"]
    return names


def test_what_is_aspired_deployed_or_labelled_stays() -> None:
    of = model(
        [row(n, VersionState.RETIRED, revision=revision(n), available_key="x") for n in range(1, 6)],
        serving=CACHED, labels={"stable": 2, "unknown": 77},
    )  # fmt: skip
    retiring = deployment(of, 4, 0)
    state = observed(of, source=listed(1, 2, 3, 4, 5), claim=MANY, deployments=(retiring,))
    assert kept(state) == [f"{n}-{revision(n)[:12]}" for n in (2, 4, 5)]
    # As long as the list is right, it is not written again.
    [action] = applied(state, "ConfigMap")
    stored = Child("digits-cache", "k", action.manifest)
    there = replace(state, children={"ConfigMap": {stored.name: stored}})
    assert not applied(there, "ConfigMap")
    foreign = replace(state, foreign=frozenset({"ConfigMap/digits-cache"}))
    assert not applied(foreign, "ConfigMap")


def test_without_a_cache_there_is_no_list() -> None:
    assert not applied(observed(model(), source=listed(1)), "ConfigMap")


def cached_fleet(*modes: str, **edits: Any) -> Fleet:
    fleet = Fleet(claim=claim(*modes))
    fleet.upload(1)
    serving = {"cache": {"persistentVolumeClaim": "shelf"}} | edits.pop("serving", {})
    fleet.edit(serving=serving, **edits)
    return fleet


HISTORIES = st.lists(st.tuples(st.sampled_from(tuple(EVENTS)), st.integers(0, 2**16)), max_size=25)


@given(history=HISTORIES)
def test_whatever_happens_no_mounted_version_is_collected(history: list[Event]) -> None:
    world = History(cached_fleet("ReadWriteMany"))
    world.play(history)
    world.recover()
    fleet = world.fleet
    assert {pod.directory for pod in fleet.pods.values()} <= fleet.cache


ONE_POD_EVENTS = tuple(
    name
    for name in EVENTS
    if name not in ("policy", "replicas", "autoscale", "versions", "take deployment")
)


@given(
    history=st.lists(st.tuples(st.sampled_from(ONE_POD_EVENTS), st.integers(0, 2**16)), max_size=25)
)
def test_whatever_happens_no_pod_waits_for_a_volume_that_another_one_holds(
    history: list[Event],
) -> None:
    fleet = cached_fleet("ReadWriteOncePod", serving={"replicas": 1}, transition=RESOURCE)
    world = History(fleet)
    world.play(history)
    world.recover()


@pytest.mark.parametrize("serving", [{"replicas": 1}, {"replicas": 2}])
def test_a_version_that_could_never_attach_its_volume_is_said_so_and_what_serves_goes_on(
    serving: dict[str, Any],
) -> None:
    world = History(cached_fleet("ReadWriteOncePod", serving=serving))
    fleet = world.fleet
    fleet.upload(2)
    world.come_to_rest()
    assert fleet.status.serving == "1"
    assert fleet.status.phase == "WaitingForVolume"
    assert "shelf is ReadWriteOncePod" in fleet.status.message
    assert len(fleet.pods) == 1
    fleet.edit(transition=RESOURCE, serving={"replicas": 1})
    world.come_to_rest()
    assert (fleet.status.serving, fleet.status.phase) == ("2", "Available")


def test_zero_replicas_are_had_without_a_volume() -> None:
    """Who asks for none needs no claim, and wants what the pods hold back."""
    of = model(serving={**CACHED, "replicas": 0})
    old = deployment(of, 1, 1)
    state = observed(of, source=listed(1, 2), deployments=(old,), pods=pods(old, 1))
    scaled = of_kind(state, actions.ScaleDeployment)
    assert scaled == [actions.ScaleDeployment(old.name, old.uid, 0)]
    assert not of_kind(state, actions.CreateDeployment)


def test_a_watcher_that_nobody_lets_in_holds_up_nothing() -> None:
    """An action that is refused ends the pass: what serves comes before it."""
    of = model(source={"uri": "pvc://shelf/digits"}, serving={"replicas": 2})
    old = deployment(of, 1, 2)
    state = observed(of, source=listed(1, 2), deployments=(old,), pods=pods(old, 2), claim=MANY)
    made = planned(state).actions
    assert actions.operation(made[-1]) == "ApplyDeployment"
    assert any(isinstance(action, actions.CreateDeployment) for action in made)
