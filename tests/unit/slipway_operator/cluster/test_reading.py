"""From manifests, as the API server holds them, to the snapshot's types."""

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway_operator.api.names import SELECTS_LABEL
from slipway_operator.cluster import reading
from slipway_operator.model.observed import Child, Container, ContainerState, Pod
from slipway_operator.rendering.deployment import deployment
from slipway_operator.rendering.inputs import servable
from slipway_operator.rendering.settings import RenderSettings
from snapshots import model, service

T = "2026-03-01T12:00:{:02d}Z"


def at(second: int) -> datetime:
    return datetime(2026, 3, 1, 12, 0, second, tzinfo=UTC)


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "p",
            "uid": "1",
            "creationTimestamp": T.format(0),
            "labels": {
                "slipway.dev/model": "digits",
                "slipway.dev/version": "3",
                "slipway.dev/servable": "v3-0123abcd",
                "pod-template-hash": "5d9c7b8f64",
            },
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "digits-v3-0123abcd-5d9c7b8f64",
                    "uid": "rs",
                    "controller": True,
                }
            ],
        },
        "status": {"phase": "Pending", **status},
    }


SCHEDULED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": T.format(1)}


def read(manifest: dict[str, Any]) -> Pod:
    found = reading.pod(manifest)
    assert found is not None
    return found


def test_a_pod_that_was_just_created() -> None:
    assert read(pod()) == Pod("p", "1", "v3-0123abcd", 3, at(0))
    bare = pod()
    del bare["status"]
    assert read(bare) == Pod("p", "1", "v3-0123abcd", 3, at(0))


def test_a_pod_that_finds_no_node_quotes_the_scheduler() -> None:
    refused = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available",
        "lastTransitionTime": T.format(2),
    }
    found = read(pod(conditions=[refused]))
    assert (found.unschedulable, found.unschedulable_since) == ("0/1 nodes are available", at(2))
    assert found.scheduled_at is None
    held_back = {**refused, "reason": "SchedulingGated"}
    assert read(pod(conditions=[held_back])).unschedulable == ""


def test_a_pod_requests_what_any_of_its_containers_does() -> None:
    manifest = pod()
    assert read(manifest).requests == {}
    manifest["spec"] = {
        "initContainers": [{"resources": {"requests": {"cpu": "100m"}}}],
        "containers": [
            {"resources": {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": "2"}}},
            {},
        ],
    }
    assert read(manifest).requests == {"cpu": "2", "nvidia.com/gpu": "1"}


def test_a_pod_whose_node_no_longer_reports() -> None:
    """The node controller makes it unready; what the kubelet wrote of its containers stays."""
    running = {"name": "server", "ready": True, "state": {"running": {}}}
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": T.format(9)}
    manifest = pod(phase="Running", conditions=[SCHEDULED, unready], containerStatuses=[running])
    manifest["spec"] = {"nodeName": "gpu-7"}
    assert read(manifest).lost == "gpu-7"
    running["ready"] = False
    assert read(manifest).lost == ""
    running["ready"] = True
    unready["status"] = "True"
    assert read(manifest).lost == ""


def test_a_pod_that_is_evicted_says_by_whom() -> None:
    words = "default-scheduler: preempting to accommodate a higher priority pod"
    target = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": words,
    }
    assert read(pod(conditions=[SCHEDULED, target])).evicted == words
    assert read(pod(conditions=[SCHEDULED])).evicted == ""


def test_the_memory_limit_of_a_pod_is_its_servers() -> None:
    manifest = pod()
    assert read(manifest).memory_limit == ""
    server = {"name": "server", "resources": {"limits": {"memory": "1500Mi"}}}
    other = {"name": "proxy", "resources": {"limits": {"memory": "64Mi"}}}
    manifest["spec"] = {"containers": [other, server]}
    assert read(manifest).memory_limit == "1500Mi"


def test_a_ready_pod_with_what_its_containers_did() -> None:
    found = read(
        pod(
            phase="Running",
            conditions=[
                SCHEDULED,
                {"type": "Ready", "status": "True", "lastTransitionTime": T.format(9)},
            ],
            initContainerStatuses=[
                {
                    "name": "sync",
                    "restartCount": 1,
                    "state": {
                        "terminated": {
                            "exitCode": 0,
                            "reason": "Completed",
                            "message": "{}",
                            "startedAt": T.format(2),
                            "finishedAt": T.format(5),
                        }
                    },
                    "lastState": {"terminated": {"exitCode": 69}},
                }
            ],
            containerStatuses=[
                {
                    "name": "server",
                    "restartCount": 0,
                    "state": {"running": {"startedAt": T.format(6)}},
                    "lastState": {},
                }
            ],
        )
    )
    assert (found.ready, found.ready_at, found.scheduled_at) == (True, at(9), at(1))
    assert found.sync == Container(
        ContainerState.TERMINATED,
        reason="Completed",
        message="{}",
        restarts=1,
        started_at=at(2),
        finished_at=at(5),
        exit_code=0,
        exit_reason="Completed",
        exit_message="{}",
    )
    assert found.server == Container(ContainerState.RUNNING, started_at=at(6))


def test_a_container_that_waits_to_be_restarted_tells_how_it_ended() -> None:
    crashed = {
        "name": "server",
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        "lastState": {
            "terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": T.format(7)}
        },
    }
    server = read(pod(phase="Running", containerStatuses=[crashed])).server
    assert (server.state, server.reason) == (ContainerState.WAITING, "CrashLoopBackOff")
    assert (server.restarts, server.exit_code, server.exit_reason) == (3, 137, "OOMKilled")
    assert server.finished_at == at(7)


def test_a_pod_that_goes_and_one_in_the_rotation() -> None:
    going = pod()
    going["metadata"]["deletionTimestamp"] = T.format(9)
    assert read(going).terminating
    marked = pod()
    marked["metadata"]["labels"]["slipway.dev/rotation"] = "in"
    assert read(marked).in_rotation
    assert not read(going).in_rotation


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Unknown"])
def test_a_pod_that_has_ended_holds_nothing(phase: str) -> None:
    assert reading.pod(pod(phase=phase)) is None


def test_a_pod_of_no_servable_is_none_of_ours() -> None:
    strange = pod()
    del strange["metadata"]["labels"]["slipway.dev/servable"]
    assert reading.pod(strange) is None


FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "nobody's": lambda m: m.pop("ownerReferences"),
    "not the controller": lambda m: m["ownerReferences"][0].update(controller=False),
    "not said": lambda m: m["ownerReferences"][0].pop("controller"),
    "a StatefulSet's": lambda m: m["ownerReferences"][0].update(kind="StatefulSet"),
    "another API's": lambda m: m["ownerReferences"][0].update(apiVersion="example.com/v1"),
    "another Deployment's": lambda m: m["ownerReferences"][0].update(name="web-5d9c7b8f64"),
    "another version's": lambda m: m["labels"].update({"slipway.dev/servable": "v2-0123abcd"}),
    "another Model's": lambda m: m["labels"].update({"slipway.dev/model": "fashion"}),
    "another template's": lambda m: m["labels"].update({"pod-template-hash": "0"}),
    "no template's": lambda m: m["labels"].pop("pod-template-hash"),
    "no version": lambda m: m["labels"].pop("slipway.dev/version"),
    "no number": lambda m: m["labels"].update({"slipway.dev/version": "three"}),
}


@pytest.mark.parametrize("forge", list(FORGERIES.values()), ids=list(FORGERIES))
def test_labels_alone_make_no_pod_of_ours(forge: Callable[[dict[str, Any]], object]) -> None:
    forged = pod(phase="Running", conditions=[SCHEDULED, {"type": "Ready", "status": "True"}])
    forge(forged["metadata"])
    assert reading.pod(forged) is None


def test_the_pod_that_lists_a_volume_is_made_by_its_deployment() -> None:
    listing = pod()
    [owner] = listing["metadata"]["ownerReferences"]
    owner["name"] = "digits-source-5d9c7b8f64"
    [found] = reading.watch_pods([listing], "digits")
    assert found.uid == "1"
    assert not reading.watch_pods([listing], "fashion")
    assert not reading.watch_pods([pod()], "digits")
    del listing["metadata"]["ownerReferences"]
    assert not reading.watch_pods([listing], "digits")


def stored(replicas: int = 2) -> dict[str, Any]:
    of = model()
    manifest = deepcopy(
        deployment(of, servable(of, 3, "00000003", "a" * 64), replicas, RenderSettings("s", "y"))
    )
    manifest["metadata"] |= {"uid": "d1", "creationTimestamp": T.format(0)}
    return manifest


def test_a_deployment_is_read_as_what_it_was_rendered_from() -> None:
    found = reading.deployment(stored())
    expected = servable(model(), 3, "00000003", "a" * 64)
    assert found is not None
    assert (found.version, found.key, found.directory, found.revision) == (
        3,
        expected.key,
        "00000003",
        "a" * 64,
    )
    assert (found.servable, found.replicas, found.created_at) == (expected.id, 2, at(0))
    assert found.name == f"digits-{expected.id}"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m["metadata"]["labels"].pop("slipway.dev/servable"),
        lambda m: m["metadata"]["labels"].update({"slipway.dev/version": "three"}),
        lambda m: m["metadata"].pop("labels"),
    ],
)
def test_a_deployment_whose_identity_is_lost_is_left_alone(spoil: Any) -> None:
    manifest = stored()
    spoil(manifest)
    assert reading.deployment(manifest) is None


def test_only_what_the_model_owns_is_its_own() -> None:
    assert reading.owned_by(stored(), "u")
    assert not reading.owned_by(stored(), "another")
    assert not reading.owned_by({"metadata": {"name": "x"}}, "u")


# EndpointSlices ------------------------------------------------------------------------------------


def slice_of(service_name: str, selects: str, **ready: bool | None) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": {"kubernetes.io/service-name": service_name, SELECTS_LABEL: selects}
        },
        "endpoints": [
            {
                "conditions": {} if is_ready is None else {"ready": is_ready},
                "targetRef": {"uid": uid},
            }
            for uid, is_ready in ready.items()
        ],
    }


OF = model()
SERVICES: dict[str, Child] = service(OF, "v2-k") | service(OF, "v2-k", following=True)


@pytest.mark.parametrize(
    ("slices", "name", "following"),
    [
        ([slice_of("digits", "v2-k", a=True, b=False)], {"a"}, set()),
        (
            [slice_of("digits", "v2-k", a=True), slice_of("digits", "v2-k", b=True)],
            {"a", "b"},
            set(),
        ),
        ([slice_of("digits-next", "v2-k", a=True)], set(), {"a"}),
        ([slice_of("digits-next", "v1-k", a=True)], set(), set()),  # of the selector before
        ([slice_of("digits", "v1-k", a=True)], {"a"}, set()),  # but that is where requests go
        ([slice_of("other", "v2-k", a=True)], set(), set()),
        ([{"metadata": {}, "endpoints": None}], set(), set()),
        ([{"metadata": {"labels": {"kubernetes.io/service-name": "digits"}}}], set(), set()),
    ],
)
def test_endpoints_are_those_that_are_shown_ready(
    slices: list[dict[str, Any]], name: set[str], following: set[str]
) -> None:
    assert reading.ready_endpoints(slices, SERVICES, {"digits-next"}) == {
        "digits": name,
        "digits-next": following,
    }


@pytest.mark.parametrize(
    ("slices", "names"),
    [
        ([slice_of("digits", "v2-k", a=True)], {"digits"}),
        ([slice_of("digits", "v1-k", a=True)], set()),
        ([slice_of("digits", "v2-k"), slice_of("digits", "v1-k")], set()),
        ([slice_of("digits", "v1-k"), slice_of("digits-next", "v2-k")], {"digits-next"}),
        ([slice_of("other", "v2-k")], set()),
        ([], set()),
    ],
)
def test_a_service_has_caught_up_when_all_its_slices_have(
    slices: list[dict[str, Any]], names: set[str]
) -> None:
    assert reading.caught_up(slices, SERVICES) == names


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ({"app": "shop"}, True),
        ({"app": "shop", "tier": "web"}, True),
        ({"app": "shop", "tier": "web", "app.kubernetes.io/managed-by": "slipway"}, True),
        ({"app": "shop", "slipway.dev/version": "3"}, True),
        ({"app": "shop", "slipway.dev/rotation": "in"}, True),
        ({"app": "shop", "slipway.dev/model": "digits"}, False),  # it is meant to
        ({"app": "shop", "slipway.dev/model": "other"}, False),
        ({"app": "shop", "tier": "db"}, False),
        ({"app": "shop", "pod-template-hash": "x"}, False),
        ({"app": "shop", "app.kubernetes.io/managed-by": "Helm"}, False),
        ({"app.kubernetes.io/managed-by": "slipway"}, False),  # not because of the added labels
        ({"slipway.dev/version": "3"}, False),
        ({"app": "other"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_services_that_select_pods_by_added_labels_are_found(
    selector: dict[str, str] | None, *, selects: bool
) -> None:
    added = {"app": "shop", "tier": "web", "app.kubernetes.io/managed-by": "Helm"}
    services = [{"metadata": {"name": "shop"}, "spec": {"selector": selector}}]
    assert reading.selected_by(services, added) == (frozenset({"shop"}) if selects else frozenset())
    assert reading.selected_by(services, {}) == frozenset()


def test_a_name_for_another_host_selects_nothing() -> None:
    spec = {"type": "ExternalName", "externalName": "shop.example", "selector": {"app": "shop"}}
    services = [{"metadata": {"name": "shop"}, "spec": spec}, {"metadata": {"name": "bare"}}]
    assert reading.selected_by(services, {"app": "shop"}) == frozenset()


@pytest.mark.parametrize(
    ("revision", "edited"), [(None, False), ("1", False), ("2", True), ("12", True), ("x", False)]
)
def test_a_deployment_whose_template_was_changed_is_kept_whole(
    revision: str | None,
    edited: bool,  # noqa: FBT001
) -> None:
    of = model()
    settings = RenderSettings("server:1", "sync:1")
    stored = deployment(of, servable(of, 3, "3", "a" * 64), 2, settings)
    stored["metadata"] |= {"uid": "d", "creationTimestamp": T.format(0)}
    if revision is not None:
        stored["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = revision
    seen = reading.deployment(stored)
    assert seen is not None
    assert (seen.edited == stored) is edited


@pytest.mark.parametrize(
    ("conditions", "refused"),
    [
        (None, ""),
        ([], ""),
        ([{"type": "Available", "status": "True", "message": "x"}], ""),
        ([{"type": "ReplicaFailure", "status": "False", "message": "x"}], ""),
        ([{"type": "ReplicaFailure", "status": "True"}], "ReplicaFailure"),
        (
            [
                {"type": "Progressing", "status": "True", "message": "x"},
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"},
            ],
            "exceeded quota",
        ),
    ],
)
def test_why_pods_of_a_deployment_are_not_created(
    conditions: list[dict[str, str]] | None, refused: str
) -> None:
    of = model()
    settings = RenderSettings("server:1", "sync:1")
    stored = deployment(of, servable(of, 3, "3", "a" * 64), 2, settings)
    stored["metadata"] |= {"uid": "d", "creationTimestamp": T.format(0)}
    stored["status"] = {"conditions": conditions}
    seen = reading.deployment(stored)
    assert seen is not None
    assert seen.refused == refused


JOB: dict[str, Any] = {
    "metadata": {
        "name": "digits-preflight-0123abcd",
        "uid": "job",
        "creationTimestamp": T.format(0),
        "labels": {"slipway.dev/preflight": "digits", "slipway.dev/servable": "v3-0123abcd"},
        "annotations": {"slipway.dev/check": "Load"},
    }
}


def job_pod(uid: str = "job", **status: Any) -> dict[str, Any]:
    made = pod(**status)
    made["metadata"]["ownerReferences"] = [{"kind": "Job", "uid": uid, "controller": True}]
    made["metadata"]["labels"] = {"slipway.dev/preflight": "digits", "slipway.dev/version": "3"}
    return made


def test_a_preflight_shows_its_newest_pod_which_is_never_ready() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": T.format(2)}
    ended = {"name": "sync", "restartCount": 2, "state": {"terminated": {"exitCode": 65}}}
    old, new = job_pod(), job_pod(conditions=[SCHEDULED, ready], containerStatuses=[ended])
    new["metadata"] |= {"name": "newest", "creationTimestamp": T.format(1)}
    found = reading.preflight(JOB, [new, old])
    assert found is not None
    assert (found.servable, found.check, found.complete) == ("v3-0123abcd", "Load", False)
    assert found.pod is not None
    assert (found.pod.name, found.pod.ready, found.pod.sync.exit_code) == ("newest", False, 65)
    assert found.pod.scheduled_at == at(1)


def test_a_preflight_has_passed_when_its_pod_or_its_job_says_so() -> None:
    for pods, conditions in (
        ([job_pod(phase="Succeeded")], []),
        ([], [{"type": "Complete", "status": "True"}]),
    ):
        found = reading.preflight(JOB | {"status": {"conditions": conditions}}, pods)
        assert found is not None
        assert found.complete
    stranger = reading.preflight(JOB, [job_pod("another", phase="Succeeded")])
    assert stranger is not None
    assert (stranger.complete, stranger.pod) == (False, None)


def test_a_preflight_that_its_controller_gave_up_says_why() -> None:
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": "DeadlineExceeded",
        "message": "late",
    }
    found = reading.preflight(JOB | {"status": {"conditions": [condition]}}, [])
    assert found is not None
    assert found.failed == "late"
    nameless = deepcopy(JOB)
    del nameless["metadata"]["labels"]
    assert reading.preflight(nameless, []) is None
