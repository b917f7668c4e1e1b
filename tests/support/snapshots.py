"""Short ways to write a snapshot: what a plan may depend on, part by part."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.api.spec import ModelSpec
from slipway_operator.api.status import ModelStatus, VersionState, VersionStatus
from slipway_operator.model.observed import Child, Deployment, Observed, Pod
from slipway_operator.model.source import Readiness, SourceObservation, SourceVersion
from slipway_operator.rendering.inputs import servable
from slipway_operator.rendering.services import model_service, next_service

T0: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def model(rows: Sequence[VersionStatus] = (), **spec: Any) -> ModelResource:
    """A Model with some rows in its status; spec parts replace the default ones."""
    whole = {"source": {"uri": "s3://models/digits"}, "serving": {"replicas": 2}} | spec
    return ModelResource(
        namespace="ml",
        name="digits",
        uid="u",
        generation=1,
        resource_version="1",
        spec=ModelSpec.model_validate(whole),
        status=ModelStatus(versions=list(rows)),
    )


def revision(version: int, content: str = "a") -> str:
    return f"{version:x}{content}".ljust(64, "0")


def key(of: ModelResource, version: int, content: str = "a") -> str:
    """The key that the spec asks for."""
    return servable(of, version, str(version), revision(version, content)).key


def row(version: int, state: VersionState = VersionState.AVAILABLE, **more: Any) -> VersionStatus:
    return VersionStatus(version=version, state=state, since="2026-03-01T11:00:00Z", **more)


def listed(
    *complete: int, others: Sequence[SourceVersion] = (), content: str = "a"
) -> SourceObservation:
    """A poll that found complete versions, and others."""
    found = [
        SourceVersion(n, str(n), revision(n, content), 9, Readiness.COMPLETE) for n in complete
    ]
    ordered = sorted([*found, *others], key=lambda v: v.number)
    return SourceObservation(polled=True, versions=tuple(ordered))


def listed_as(version: int, readiness: Readiness, **more: Any) -> SourceVersion:
    looked_at = readiness is not Readiness.UNSEEN
    return SourceVersion(
        version, str(version), revision(version) if looked_at else "", 9, readiness, **more
    )


def deployment(
    of: ModelResource, version: int, replicas: int = 2, *, rendered: str = "", content: str = "a"
) -> Deployment:
    """A Deployment of what the spec asks for, or of an earlier rendering, named by its key."""
    key_ = rendered or key(of, version, content)
    servable_ = names.servable_id(version, key_)
    return Deployment(
        name=f"digits-{servable_}",
        uid=f"uid-{servable_}",
        servable=servable_,
        version=version,
        key=key_,
        revision=revision(version, content),
        directory=str(version),
        replicas=replicas,
        created_at=T0,
    )


def pods(of: Deployment, count: int = 2, *, first: int = 0, **state: Any) -> tuple[Pod, ...]:
    """Pods of a Deployment, ready unless said otherwise."""
    full: dict[str, Any] = {"ready": True, "ready_at": T0, "scheduled_at": T0} | state
    return tuple(
        Pod(
            name=f"{of.name}-{n}",
            uid=f"{of.servable}-{n}",
            servable=of.servable,
            version=of.version,
            created_at=T0,
            **full,
        )
        for n in range(first, first + count)
    )


def service(of: ModelResource, selects: str, *, following: bool = False) -> dict[str, Child]:
    """NAME, or NAME-next, by name."""
    manifest = (next_service if following else model_service)(of, selects)
    name = manifest["metadata"]["name"]
    return {name: Child(name, f"uid-{name}", manifest)}


def observed(
    of: ModelResource, *, services: Mapping[str, Child] | None = None, **parts: Any
) -> Observed:
    whole: dict[str, Any] = {
        "source": SourceObservation(),
        "children": {"Service": services or {}},
    }
    return Observed(model=of, **(whole | parts))


def uids(*of: Pod) -> frozenset[str]:
    return frozenset(pod.uid for pod in of)
