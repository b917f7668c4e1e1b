"""What the API server refused of a Model's claim and routes, kept for the status and a retry."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api import names
from slipway_operator.api.quantities import parse_quantity
from slipway_operator.cluster.client import ClusterError
from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.model.observed import Observed
from slipway_operator.model.pvc import Refusal
from slipway_operator.model.routes import RefusedRoute

_AGAIN: Final = timedelta(minutes=1)
_KEPT: Final = timedelta(hours=1)
"""Refusals older than this are dropped: their Model is gone, or no longer asks."""
_FINAL: Final = frozenset({400, 403, 422})
"""HTTP statuses of a no: a quota, a StorageClass that does not grow, a value that cannot be."""
_NOT_FOUND: Final = 404
"""The kind of a route has gone since it was listed."""
_CONFLICT: Final = 409
"""Someone else's Job has the name: ours, also one that is on its way out, is known."""
_BROKEN: Final = 500
"""And above: a webhook for routes that cannot be called, for one."""

CLAIM: Final = "PersistentVolumeClaim"
_JOB: Final = "Job"


class Refusals:
    """Remembers refusals, by the Model's uid and the kind of what was refused."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[Refusal | RefusedRoute, datetime]] = {}

    def add(self, observed: Observed) -> Observed:
        """The snapshot with what was refused before."""
        now, uid = self._clock(), observed.model.uid
        claim: Refusal | None = None
        routes: dict[str, RefusedRoute] = {}
        for kind in (CLAIM, *names.ROUTE_KINDS):
            if (known := self._known.get((uid, kind))) is None:
                continue
            refusal, at = known
            if isinstance(refusal, RefusedRoute):
                routes[kind] = replace(refusal, retry=now - at >= _AGAIN)
            else:
                claim = replace(refusal, retry=now - at >= _AGAIN)
        observed = self._add_job(observed, now)
        if claim is None and not routes:
            return observed
        return replace(observed, refusal=claim or observed.refusal, refused_routes=routes)

    def _add_job(self, observed: Observed, now: datetime) -> Observed:
        """The snapshot with why no pre-flight Job could be created, until it is time to ask again."""
        known = self._known.get((observed.model.uid, _JOB))
        if known is None or observed.preflights is None or observed.preflights.refused:
            return observed
        refusal, at = known
        if isinstance(refusal, RefusedRoute) or now - at >= _AGAIN:
            return observed
        return replace(observed, preflights=replace(observed.preflights, refused=refusal.message))

    def succeeded(self, observed: Observed, action: Action) -> None:
        """An action was executed."""
        match action:
            case actions.CreateClaim() | actions.GrowClaim():
                self._known.pop((observed.model.uid, CLAIM), None)
            case actions.CreateJob():
                self._known.pop((observed.model.uid, _JOB), None)
            case actions.Apply() | actions.Delete() if is_about_a_route(action):
                self._known.pop((observed.model.uid, action.kind), None)

    def take(self, observed: Observed, action: Action, error: ClusterError) -> bool:
        """Remember a refusal; False when the error is something else."""
        final, said = error.status in _FINAL, str(error)
        match action:
            case actions.CreateClaim(manifest) if final:
                size = parse_quantity(manifest["spec"]["resources"]["requests"]["storage"])
                self._keep(observed, CLAIM, Refusal(size, said))
            case actions.GrowClaim(_, _, size) if final:
                self._keep(observed, CLAIM, Refusal(size, said))
            case actions.CreateJob() if final or error.status == _CONFLICT:
                self._keep(observed, _JOB, Refusal(0, said))
            case actions.Apply() | actions.Delete() if is_about_a_route(action):
                if not final and error.status != _NOT_FOUND and error.status < _BROKEN:
                    return False
                self._keep(observed, action.kind, RefusedRoute(action, said))
            case _:
                return False
        return True

    def _keep(self, observed: Observed, kind: str, refusal: Refusal | RefusedRoute) -> None:
        now = self._clock()
        self._known = {key: known for key, known in self._known.items() if now - known[1] < _KEPT}
        self._known[observed.model.uid, kind] = (refusal, now)


def is_about_a_route(action: Action) -> bool:
    """Whether an action writes or deletes a route: no other action needs it to have succeeded."""
    return isinstance(action, actions.Apply | actions.Delete) and action.kind in names.ROUTE_KINDS
