"""What a claim allows, and what has to stay in a cache. Pure."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from slipway_operator.api import names
from slipway_operator.api.conditions import Reason
from slipway_operator.api.quantities import parse_quantity
from slipway_operator.api.resource import ModelResource
from slipway_operator.model.observed import Observed
from slipway_operator.model.pvc import NO_VOLUME, Claim, Sharing, Volume
from slipway_operator.planning.versions.desired import DesiredVersions
from slipway_operator.rendering.pvc import (
    cache_directory,
    claim_manifest,
    claim_name,
    mounted_source,
)

CLAIM_INTERVAL: Final = timedelta(seconds=10)
"""How often a claim that cannot be used is looked at again: claims are not watched."""

_MANY: Final = "ReadWriteMany"
_ONE_NODE: Final = "ReadWriteOnce"
_ONE_POD: Final = "ReadWriteOncePod"
_READERS: Final = "ReadOnlyMany"


def sharing_of(modes: Collection[str], *, read_only: bool) -> Sharing | None:
    """Which pods may use a volume at a time; None when they could not use it as they have to.

    >>> sharing_of({"ReadWriteOnce", "ReadOnlyMany"}, read_only=False).value
    'one-node'
    """
    if _MANY in modes or (read_only and _READERS in modes):
        return Sharing.ANYWHERE
    if _ONE_NODE in modes:
        return Sharing.ONE_NODE
    return Sharing.ONE_POD if _ONE_POD in modes else None


def volume_of(observed: Observed) -> Volume:
    """What the claim of a Model, if it mounts one, lets its pods do."""
    model = observed.model
    name = claim_name(model)
    if not name:
        return NO_VOLUME
    kind = f"PersistentVolumeClaim/{names.cache(model.name)}"
    own = claim_manifest(model)
    if own is not None and kind in observed.foreign:
        return Volume(
            reason=Reason.NAME_CONFLICT,
            message=f"claim {name} exists and is not owned by this Model: name it in "
            "spec.serving.cache.persistentVolumeClaim instead of a claimTemplate, or delete it",
        )
    if own is not None and observed.claim is None and observed.refusal:
        return Volume(
            reason=Reason.CLAIM_UNUSABLE,
            message=f"claim {name} cannot be created: {observed.refusal.message}",
        )
    if own is not None and observed.claim is None:
        return judge(model, Claim(name, "", frozenset(own["spec"]["accessModes"]), owned=True))
    return judge(model, observed.claim)


def judge(model: ModelResource, claim: Claim | None) -> Volume:
    """What a claim lets a Model's pods do.

    Args:
        model: The Model, whose cache or source it is.
        claim: None when it does not exist.
    """
    source = mounted_source(model)
    use = "spec.source.uri" if source else "spec.serving.cache"
    if claim is None:
        return Volume(
            reason=Reason.CLAIM_MISSING,
            message=f"claim {model.namespace}/{claim_name(model)} does not exist ({use}): create "
            "it, or name another one",
        )
    if claim.deleting or claim.phase == "Lost":
        what = "is being deleted" if claim.deleting else "has lost its volume"
        return Volume(
            reason=Reason.CLAIM_UNUSABLE,
            message=f"claim {claim.name} {what}, so no new pod can use it ({use}): name another "
            "claim; current versions keep serving",
        )
    sharing = sharing_of(claim.access_modes, read_only=source is not None)
    modes = ", ".join(sorted(claim.access_modes)) or "nothing"
    if sharing is None:
        return Volume(
            reason=Reason.CLAIM_UNUSABLE,
            message=f"claim {claim.name} allows {modes} only, but a cache must be writable: use a "
            f"claim that allows {_MANY}, {_ONE_NODE} or {_ONE_POD}",
        )
    if sharing is Sharing.ONE_POD and source is not None:
        return Volume(
            sharing,
            reason=Reason.CLAIM_UNUSABLE,
            message=f"claim {claim.name} is {_ONE_POD}, but the pod that lists it and every pod "
            f"that serves from it mount it at the same time: use a claim that allows {_READERS}, "
            f"{_MANY} or {_ONE_NODE}",
        )
    return Volume(sharing, exclusive=_exclusive(model, claim, sharing))


def _exclusive(model: ModelResource, claim: Claim, sharing: Sharing) -> str:
    """Why a spec cannot be had with a volume that one pod at a time may use."""
    if sharing is not Sharing.ONE_POD:
        return ""
    spec = model.spec
    needs = []
    if spec.serving.replicas > 1:
        needs.append(f"spec.serving.replicas is {spec.serving.replicas}")
    if spec.transition.policy != "ResourcePreserving":
        needs.append("a new version starts beside the old one (spec.transition.policy)")
    versions = model.versions
    if versions.all or (versions.latest or 1) > 1 or len(versions.specific or ()) > 1:
        needs.append("spec.versions asks for several versions")
    if not needs:
        return ""
    return (
        f"claim {claim.name} is {_ONE_POD}: one pod at a time can mount it, but "
        f"{' and '.join(needs)}; set replicas 1, one version and policy ResourcePreserving, or use "
        f"a claim that allows {_MANY} or {_ONE_NODE}; current versions keep serving"
    )


def volume_due(volume: Volume) -> timedelta | None:
    """Time until a claim that cannot be used is looked at again; None when it can be used."""
    return CLAIM_INTERVAL if volume.reason else None


def growth(observed: Observed) -> int:
    """Bytes to which the Model's own claim has to grow; 0 when it has not, or was refused to."""
    size = _missing(observed)
    refusal = observed.refusal
    return 0 if refusal and refusal.size == size and not refusal.retry else size


def not_grown(observed: Observed) -> str:
    """Why the Model's own claim is smaller than its template; "" when nobody has refused."""
    size = _missing(observed)
    if not size or observed.refusal is None or observed.refusal.size != size:
        return ""
    return (
        f"claim {names.cache(observed.model.name)} cannot be expanded to the size in "
        f"spec.serving.cache.claimTemplate: {observed.refusal.message}"
    )


def _missing(observed: Observed) -> int:
    """The size that the template asks for, when it is more than the claim has; else 0."""
    cache = observed.model.spec.serving.cache
    claim = observed.claim
    if cache is None or cache.claim_template is None or claim is None or not claim.owned:
        return 0
    wanted = parse_quantity(cache.claim_template.size)
    return wanted if wanted > claim.requested else 0


def kept_directories(observed: Observed, desired: DesiredVersions) -> frozenset[str]:
    """Directories of the cache that have to stay.

    Every version that is desired, has a Deployment (and so serves, syncs, or is the way back), has
    pods, or is labelled. What cannot be named, because nothing knows its revision, cannot lie there.
    """
    kept = {(s.version, s.revision) for s in desired.servables}
    kept |= {(d.version, d.revision) for d in observed.deployments}
    rows = {row.version: row.revision for row in observed.model.status.versions}
    listed = {v.number: v.revision for v in observed.source.versions}
    mattering = {pod.version for pod in observed.pods} | set(observed.model.spec.labels.values())
    for version in mattering:
        kept |= {(version, rows.get(version, "")), (version, listed.get(version, ""))}
    return frozenset(cache_directory(*entry) for entry in kept if entry[1])
