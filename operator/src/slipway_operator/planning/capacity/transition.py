"""Whether a transition is under way: remembered in the status, since pods alone do not tell.

After a rollback, for example, one version has some of its pods and waits for the drains of its own:
a scale-up looks the same. Nor do they tell with how many replicas it began, which decides whether there
may be a gap while there is only one (T2).
"""

from datetime import datetime

from slipway_operator.api.status import TransitionStatus, timestamp
from slipway_operator.model.observed import Observed
from slipway_operator.model.servable import Servable
from slipway_operator.planning.endpoints import live_pods
from slipway_operator.planning.versions.desired import DesiredVersions


def transition_under_way(
    observed: Observed, desired: DesiredVersions, now: datetime
) -> TransitionStatus | None:
    """The transition under way; None when no version replaces another.

    It begins when something has, or may have, pods that is not desired, and ends when nothing has and
    every desired servable may have all its pods and has once had them.
    """
    known = observed.model.status.transition
    if not desired.servables:
        return known
    replicas = observed.model.spec.serving.replicas
    if _replaced(observed, desired):
        return known or TransitionStatus(replicas=replicas, since=timestamp(now))
    if known is None or all(_arrived(observed, servable) for servable in desired.servables):
        return None
    # Nothing is left to be replaced; should a newer version come, its transition begins now.
    return known.model_copy(update={"replicas": max(known.replicas, replicas)})


def _replaced(observed: Observed, desired: DesiredVersions) -> bool:
    """Whether there are pods, or may come to be, that are not of a desired servable."""
    entitled = {found.servable for found in observed.deployments if found.replicas}
    return bool((entitled | {pod.servable for pod in observed.pods}) - desired.ids)


def _arrived(observed: Observed, servable: Servable) -> bool:
    wanted = observed.model.spec.serving.replicas
    rows = {row.version: row for row in observed.model.status.versions}
    row = rows.get(servable.version)
    ready = sum(pod.ready and pod.servable == servable.id for pod in live_pods(observed))
    replicas = sum(d.replicas for d in observed.deployments if d.servable == servable.id)
    available = row is not None and row.available_key == servable.key
    return replicas >= wanted and (available or ready >= wanted)
