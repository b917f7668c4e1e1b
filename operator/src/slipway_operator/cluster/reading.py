"""From manifests, as the API server holds them, to the snapshot's types. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.quantities import parse_quantity
from slipway_operator.model.observed import (
    Child,
    Container,
    ContainerState,
    Deployment,
    Pod,
    PreflightJob,
)
from slipway_operator.model.pvc import Claim
from slipway_operator.model.volume_watcher import WatchPod

_TEMPLATE_LABEL: Final = "pod-template-hash"
"""Set by the Deployment controller; the end of its ReplicaSet's name."""
_REVISION: Final = "deployment.kubernetes.io/revision"
"""Set by the Deployment controller: 1 for the template that a Deployment was created with."""
_ACTIVE: Final = ("Pending", "Running")


def moment(text: str | None) -> datetime | None:
    """A Kubernetes time."""
    return datetime.fromisoformat(text) if text else None


def owned_by(manifest: Mapping[str, Any], uid: str) -> bool:
    """Whether the Model of that uid is among its owners."""
    owners = manifest["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == uid for owner in owners)


def child(manifest: Mapping[str, Any]) -> Child:
    """A child as it is stored."""
    metadata = manifest["metadata"]
    return Child(name=metadata["name"], uid=metadata["uid"], manifest=manifest)


def deployment(manifest: Mapping[str, Any]) -> Deployment | None:
    """A Deployment of ours; None when its identity cannot be read."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    try:
        servable = labels[names.SERVABLE_LABEL]
        created = moment(metadata["creationTimestamp"])
        assert created is not None  # noqa: S101 (every stored object has one)
        return Deployment(
            name=metadata["name"],
            uid=metadata["uid"],
            servable=servable,
            version=int(labels[names.VERSION_LABEL]),
            key=servable.rpartition("-")[2],
            revision=annotations.get(names.REVISION_ANNOTATION, ""),
            directory=annotations.get(names.DIRECTORY_ANNOTATION, ""),
            replicas=manifest["spec"].get("replicas", 1),
            created_at=created,
            claims=_claims(manifest["spec"]),
            edited=manifest if _template_changes(annotations) else None,
            refused=_refused(manifest.get("status") or {}),
        )
    except (KeyError, ValueError):
        return None


def _refused(status: Mapping[str, Any]) -> str:
    """What a Deployment's controller says of pods that it may not create, or cannot."""
    for condition in status.get("conditions") or ():
        if (condition["type"], condition["status"]) == ("ReplicaFailure", "True"):
            return condition.get("message") or "ReplicaFailure"
    return ""


def _template_changes(annotations: Mapping[str, str]) -> int:
    """How often a Deployment's pod template was changed; its controller counts them, scaling is none."""
    count = annotations.get(_REVISION, "")
    return int(count) - 1 if count.isdecimal() else 0


def _claims(spec: Mapping[str, Any]) -> frozenset[str]:
    volumes = ((spec.get("template") or {}).get("spec") or {}).get("volumes") or ()
    mounted = (volume.get("persistentVolumeClaim") for volume in volumes)
    return frozenset(claim["claimName"] for claim in mounted if claim)


def claim(manifest: Mapping[str, Any], uid: str) -> Claim:
    """A PersistentVolumeClaim; `uid` is the Model's."""
    metadata = manifest["metadata"]
    spec = manifest["spec"]
    status = manifest.get("status") or {}
    asked = frozenset(spec.get("accessModes") or ())
    # A volume may allow more than was asked for; but one pod stays one pod: the scheduler holds it.
    bound = frozenset(status.get("accessModes") or ())
    requests = (spec.get("resources") or {}).get("requests") or {}
    return Claim(
        name=metadata["name"],
        uid=metadata["uid"],
        access_modes=asked if "ReadWriteOncePod" in asked else bound or asked,
        phase=status.get("phase", "Pending"),
        deleting="deletionTimestamp" in metadata,
        owned=owned_by(manifest, uid),
        requested=_bytes(requests.get("storage", "0")),
    )


def _bytes(quantity: str) -> int:
    try:
        return parse_quantity(quantity)
    except ValueError:
        return 0  # Written with an exponent: it is left as it is.


def _container(statuses: Iterable[Mapping[str, Any]], name: str) -> Container:
    status = next((s for s in statuses if s["name"] == name), None)
    if status is None:
        return Container()
    state: Mapping[str, Any] = status.get("state") or {}
    kind = next((k for k in ContainerState if k.value in state), ContainerState.WAITING)
    detail = state.get(kind.value) or {}
    last = (status.get("lastState") or {}).get("terminated") or {}
    ended = detail if kind is ContainerState.TERMINATED else last
    return Container(
        state=kind,
        reason=detail.get("reason") or "",
        message=detail.get("message") or "",
        restarts=status.get("restartCount", 0),
        started_at=moment(detail.get("startedAt")),
        finished_at=moment(ended.get("finishedAt")),
        exit_code=ended.get("exitCode"),
        exit_reason=ended.get("reason") or "",
        exit_message=ended.get("message") or "",
    )


def made_by(manifest: Mapping[str, Any], deployment_name: str) -> bool:
    """Whether a pod was made by the ReplicaSet of that Deployment.

    Anyone who may create pods can copy the labels. An owner that does not exist has the pod deleted by the
    garbage collector, and a pod that names the real one is counted, and removed again, by the ReplicaSet.
    """
    metadata = manifest["metadata"]
    template = (metadata.get("labels") or {}).get(_TEMPLATE_LABEL)
    owners = (o for o in metadata.get("ownerReferences") or () if o.get("controller"))
    owner: Mapping[str, Any] = next(owners, {})
    return bool(template) and (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) == (
        "apps/v1",
        "ReplicaSet",
        f"{deployment_name}-{template}",
    )


def pod(manifest: Mapping[str, Any]) -> Pod | None:
    """A pod that is Pending or Running; None for one that has ended or is no Deployment's of ours."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    status = manifest.get("status") or {}
    model, servable = labels.get(names.MODEL_LABEL, ""), labels.get(names.SERVABLE_LABEL, "")
    version = labels.get(names.VERSION_LABEL, "")
    if (
        status.get("phase", "Pending") not in _ACTIVE
        or not made_by(manifest, names.deployment_name(model, servable))
        or not version.isdecimal()
    ):
        return None
    return _pod(manifest, servable)


def _pod(manifest: Mapping[str, Any], servable: str) -> Pod:
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    status = manifest.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    scheduled = conditions.get("PodScheduled", {})
    disrupted = conditions.get("DisruptionTarget", {})
    placed = scheduled.get("status") == "True"
    unschedulable = not placed and scheduled.get("reason") == "Unschedulable"
    since = moment(scheduled.get("lastTransitionTime"))
    created = moment(metadata["creationTimestamp"])
    assert created is not None  # noqa: S101 (every stored object has one)
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        servable=servable,
        version=int(labels[names.VERSION_LABEL]),
        created_at=created,
        ready=ready.get("status") == "True",
        ready_at=moment(ready.get("lastTransitionTime")),
        terminating="deletionTimestamp" in metadata,
        in_rotation=labels.get(names.ROTATION_LABEL) == names.ROTATION_IN,
        scheduled_at=since if placed else None,
        unschedulable=scheduled.get("message") or "Unschedulable" if unschedulable else "",
        unschedulable_since=since if unschedulable else None,
        sync=_container(
            (
                *(status.get("initContainerStatuses") or ()),
                *(status.get("containerStatuses") or ()),
            ),
            names.SYNC_CONTAINER,
        ),
        server=_container(status.get("containerStatuses") or (), names.SERVER_CONTAINER),
        requests=_requests(manifest.get("spec") or {}),
        lost=_lost(manifest),
        evicted=disrupted.get("message") or "" if disrupted.get("status") == "True" else "",
        memory_limit=_memory_limit(manifest.get("spec") or {}),
        address=status.get("podIP") or "",
    )


def preflight(
    manifest: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]
) -> PreflightJob | None:
    """A pre-flight Job with the newest of its pods; None when its identity cannot be read.

    Args:
        manifest: The Job.
        pods: Pods that bear the labels of one; those that the Job does not own only say so.
    """
    metadata = manifest["metadata"]
    servable = (metadata.get("labels") or {}).get(names.SERVABLE_LABEL, "")
    if not servable:
        return None
    status = manifest.get("status") or {}
    ended = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
    failed = ended.get("Failed", {})
    own = [
        pod
        for pod in pods
        if owned_by(pod, metadata["uid"])
        and ((pod["metadata"].get("labels") or {}).get(names.VERSION_LABEL, "")).isdecimal()
    ]
    newest = max(own, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)
    return PreflightJob(
        name=metadata["name"],
        uid=metadata["uid"],
        servable=servable,
        check=(metadata.get("annotations") or {}).get(names.CHECK_ANNOTATION, ""),
        # Of the two, only the pod is watched, and it says so first.
        complete="Complete" in ended or _phase(newest) == "Succeeded",
        failed=failed.get("message") or failed.get("reason") or "Failed" if failed else "",
        terminating="deletionTimestamp" in metadata,
        pod=replace(_pod(newest, servable), ready=False) if newest else None,
    )


def _phase(pod: Mapping[str, Any] | None) -> str:
    return str(((pod or {}).get("status") or {}).get("phase", ""))


def _lost(manifest: Mapping[str, Any]) -> str:
    """The node of a pod that is unready although the kubelet called its server ready; empty otherwise.

    The kubelet writes both at once. Where they differ, it has not written since the node controller made the
    pod unready, because the node does not report.
    """
    status = manifest.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    servers = [
        s for s in status.get("containerStatuses") or () if s["name"] == names.SERVER_CONTAINER
    ]
    called_ready = any(server.get("ready") for server in servers)
    if not called_ready or conditions.get("Ready") not in ("False", "Unknown"):
        return ""
    return str((manifest.get("spec") or {}).get("nodeName", ""))


def _memory_limit(spec: Mapping[str, Any]) -> str:
    """Memory limit of a pod's server; empty when it has none."""
    for container in spec.get("containers") or ():
        if container.get("name") == names.SERVER_CONTAINER:
            limits = (container.get("resources") or {}).get("limits") or {}
            return str(limits.get("memory", ""))
    return ""


def _requests(spec: Mapping[str, Any]) -> dict[str, str]:
    """What a pod's containers request; a limit alone is a request as well.

    The sync ends before the server starts, so that the larger of two requests is what the pod needs.
    """
    found: dict[str, str] = {}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        for name, amount in asked.items():
            found[name] = max(found.get(name, "0"), str(amount), key=_bytes)
    return found


def watch_pods(manifests: Iterable[Mapping[str, Any]], model: str) -> list[WatchPod]:
    """The pods that list a volume for the Model of that name, without those that only say so."""
    deployment_name = names.watcher(model)
    return [_watch_pod(manifest) for manifest in manifests if made_by(manifest, deployment_name)]


def _watch_pod(manifest: Mapping[str, Any]) -> WatchPod:
    metadata = manifest["metadata"]
    status = manifest.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    refused = scheduled.get("status") != "True" and scheduled.get("reason") == "Unschedulable"
    created = moment(metadata["creationTimestamp"])
    assert created is not None  # noqa: S101 (every stored object has one)
    return WatchPod(
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=created,
        inputs=(metadata.get("annotations") or {}).get(names.INPUTS_ANNOTATION, ""),
        terminating="deletionTimestamp" in metadata,
        ended=status.get("phase", "Pending") not in _ACTIVE,
        unschedulable=scheduled.get("message") or "Unschedulable" if refused else "",
        watch=_container(status.get("containerStatuses") or (), names.WATCH_CONTAINER),
    )


def selected_by(
    services: Iterable[Mapping[str, Any]], pod_labels: Mapping[str, str]
) -> frozenset[str]:
    """Names of the Services that select a Model's pods because of the labels that its spec adds to them.

    One whose selector names the Model (`slipway.dev/model`) is meant to, and one that does without the added labels is
    not there because of them.

    Args:
        services: Services of others.
        pod_labels: The labels that the spec adds.
    """
    added = {key: value for key, value in pod_labels.items() if key != names.MANAGED_BY_LABEL}
    found = set()
    for item in services:
        spec = item.get("spec") or {}
        selector = spec.get("selector") or {}
        if names.MODEL_LABEL in selector or spec.get("type") == "ExternalName":
            continue
        rest = {key: value for key, value in selector.items() if added.get(key) != value}
        if len(rest) < len(selector) and all(_may_be_ours(*label) for label in rest.items()):
            found.add(item["metadata"]["name"])
    return frozenset(found)


def _may_be_ours(key: str, value: str) -> bool:
    """Whether pods of some version of a Model have this label, whatever its spec says."""
    if key == names.MANAGED_BY_LABEL:
        return value == names.MANAGED_BY
    return key.startswith(f"{names.GROUP}/")


def caught_up(slices: Iterable[Mapping[str, Any]], services: Mapping[str, Child]) -> frozenset[str]:
    """Services that have EndpointSlices, all of them computed for the present selector."""
    seen: dict[str, bool] = {}
    for item in slices:
        service = _service_of(item, services)
        if service:
            current = _selects(item["metadata"]) == _selects(service.manifest["metadata"])
            seen[service.name] = seen.get(service.name, True) and current
    return frozenset(name for name, current in seen.items() if current)


def _service_of(item: Mapping[str, Any], services: Mapping[str, Child]) -> Child | None:
    labels = item["metadata"].get("labels") or {}
    return services.get(labels.get("kubernetes.io/service-name", ""))


def _selects(metadata: Mapping[str, Any]) -> str:
    return str((metadata.get("labels") or {}).get(names.SELECTS_LABEL, ""))


def ready_endpoints(
    slices: Iterable[Mapping[str, Any]], services: Mapping[str, Child], tried: Collection[str]
) -> dict[str, frozenset[str]]:
    """Uids of pods that each Service's EndpointSlices show ready, which is where requests go.

    Args:
        slices: EndpointSlices.
        services: The Services they may belong to, by name.
        tried: Services that try a selector out: a slice that was computed for an earlier selector
            of theirs proves nothing and does not count.
    """
    found: dict[str, set[str]] = {name: set() for name in services}
    for item in slices:
        service = _service_of(item, services)
        if service is None:
            continue
        current = _selects(item["metadata"]) == _selects(service.manifest["metadata"])
        if service.name in tried and not current:
            continue
        for endpoint in item.get("endpoints") or ():
            target = endpoint.get("targetRef") or {}
            if endpoint.get("conditions", {}).get("ready") and target.get("uid"):
                found[service.name].add(target["uid"])
    return {name: frozenset(uids) for name, uids in found.items()}
