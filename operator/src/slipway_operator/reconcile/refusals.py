"""What the API server refused about a Model's own PersistentVolumeClaim, kept for the status and a retry."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.quantities import parse_quantity
from slipway_operator.cluster.client import ClusterError
from slipway_operator.model import actions
from slipway_operator.model.actions import Action
from slipway_operator.model.observed import Observed
from slipway_operator.model.pvc import Refusal

_AGAIN: Final = timedelta(minutes=1)
_KEPT: Final = timedelta(hours=1)
"""Refusals older than this are dropped: their Model is gone, or no longer asks."""
_FINAL: Final = frozenset({400, 403, 422})
"""HTTP statuses of a no: a quota, a StorageClass that does not grow, a value that cannot be."""


class Refusals:
    """Remembers refusals, by the Model's uid."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[Refusal, datetime]] = {}

    def add(self, observed: Observed) -> Observed:
        """The snapshot with what was refused before."""
        known = self._known.get(observed.model.uid)
        if known is None:
            return observed
        refusal, at = known
        return replace(observed, refusal=replace(refusal, retry=self._clock() - at >= _AGAIN))

    def succeeded(self, observed: Observed, action: Action) -> None:
        """An action was executed."""
        if isinstance(action, actions.CreateClaim | actions.GrowClaim):
            self._known.pop(observed.model.uid, None)

    def take(self, observed: Observed, action: Action, error: ClusterError) -> bool:
        """Remember a refusal; False when the error is something else."""
        if error.status not in _FINAL:
            return False
        match action:
            case actions.CreateClaim(manifest):
                size = parse_quantity(manifest["spec"]["resources"]["requests"]["storage"])
            case actions.GrowClaim(_, _, size):
                pass
            case _:
                return False
        now = self._clock()
        self._known = {uid: known for uid, known in self._known.items() if now - known[1] < _KEPT}
        self._known[observed.model.uid] = (Refusal(size, str(error)), now)
        return True
