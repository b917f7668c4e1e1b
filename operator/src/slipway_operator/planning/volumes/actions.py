"""Actions about what pods mount: the Model's own claim, what stays in a cache, and the watcher."""

from collections.abc import Iterator

from slipway_operator.api import names
from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.model.observed import Observed
from slipway_operator.model.pvc import Volume
from slipway_operator.planning.drift import apply_child, delete_child
from slipway_operator.planning.versions.desired import DesiredVersions
from slipway_operator.planning.volumes.pvc import growth, kept_directories
from slipway_operator.rendering.pvc import cache_claim, claim_manifest, keep_manifest
from slipway_operator.rendering.settings import RenderSettings
from slipway_operator.rendering.volume_watcher import is_current, watcher


def claim_actions(observed: Observed, desired: DesiredVersions) -> Iterator[Action]:
    """The Model's own claim, and the list of what stays.

    Neither is deleted while the Model is there: pods of an earlier spec may still mount them.
    """
    model = observed.model
    own = claim_manifest(model)
    name = names.cache(model.name)
    wait = observed.refusal is not None and not observed.refusal.retry
    foreign = f"PersistentVolumeClaim/{name}" in observed.foreign
    if own and observed.claim is None and not foreign and not wait:
        yield actions.CreateClaim(own)
    if cache_claim(model):
        keep = keep_manifest(model, kept_directories(observed, desired))
        yield from apply_child(observed, keep)


def growth_actions(observed: Observed) -> Iterator[Action]:
    """The Model's own claim grows with its template; nothing else of it is ever edited."""
    size = growth(observed)
    if size and observed.claim:
        yield actions.GrowClaim(observed.claim.name, observed.claim.uid, size)


def watcher_actions(
    observed: Observed, settings: RenderSettings, volume: Volume
) -> Iterator[Action]:
    """The Deployment that lists a volume is there as long as the source is one."""
    model = observed.model
    name = names.watcher(model.name)
    found = observed.child("Deployment", name)
    wanted = watcher(model, settings, volume.sharing)
    if wanted is None:
        yield from delete_child(observed, "Deployment", name)
        return
    if volume.reason or f"Deployment/{name}" in observed.foreign:
        return
    if found is None or not is_current(found.manifest, wanted):
        yield actions.Apply(wanted)
