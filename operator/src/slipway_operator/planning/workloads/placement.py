"""Which pods hold which servables: what stands between desired replicas and Deployments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from slipway_operator.api import names
from slipway_operator.model.servable import Servable
from slipway_operator.planning.decision import Decision
from slipway_operator.rendering.deployment import deployment


@dataclass(frozen=True, slots=True)
class Workload:
    """Pods that hold the same servables.

    Attributes:
        name: Name of its Deployment.
        servables: What each of its pods serves.
        replicas: How many pods it may have next.
    """

    name: str
    servables: tuple[Servable, ...]
    replicas: int


class Placement(Protocol):
    """Puts servables into pods."""

    def workloads(self, decision: Decision, replicas: Mapping[str, int]) -> Sequence[Workload]:
        """The workloads of a Model.

        Args:
            decision: What is desired, and what is there.
            replicas: How many pods may hold a servable next, by its id.
        """

    def manifest(self, decision: Decision, workload: Workload) -> Mapping[str, Any]:
        """The Deployment that creates a workload."""


class OneVersionPerPod:
    """Every pod holds one servable, so that versions start, fail and go independently."""

    def workloads(self, decision: Decision, replicas: Mapping[str, int]) -> Sequence[Workload]:
        """One workload for each servable that has, or is to have, pods."""
        model = decision.observed.model.name
        servables = {
            d.servable: Servable(d.version, d.directory, d.revision, d.key)
            for d in decision.observed.deployments
        } | {servable.id: servable for servable in decision.desired.servables}
        return [
            Workload(names.deployment_name(model, servable), (servables[servable],), count)
            for servable, count in replicas.items()
        ]

    def manifest(self, decision: Decision, workload: Workload) -> Mapping[str, Any]:
        """The Deployment of the workload's only servable."""
        [servable] = workload.servables
        return deployment(
            decision.observed.model,
            servable,
            workload.replicas,
            decision.settings,
            decision.observed.source.identity,
            decision.volume.sharing,
        )


PLACEMENT: Final[Placement] = OneVersionPerPod()
"""The placement of every Model."""
