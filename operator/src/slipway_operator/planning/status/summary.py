"""`status` as a whole, from the rows of the versions, the columns and the conditions."""

from collections.abc import Sequence

from slipway_operator.api import names
from slipway_operator.api.status import ModelStatus
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.status.columns import phase_of, serving_column
from slipway_operator.planning.status.conditions import condition_values, conditions, message
from slipway_operator.planning.status.degraded import Trouble
from slipway_operator.planning.traffic.scale import scale_replicas, scale_selector


def summarise(decision: Decision, troubles: Sequence[Trouble]) -> ModelStatus:
    """The whole status.

    Args:
        decision: What was decided, with the rows.
        troubles: What Degraded tells.
    """
    model = decision.observed.model
    phase = phase_of(decision)
    values = condition_values(decision, phase, troubles)
    live = [pod for pod in decision.observed.pods if not pod.terminating]
    wanted = decision.limits.replicas * max(1, len(decision.desired.servables))
    primary = decision.desired.primary
    ideal = decision.desired.ideal
    target = primary.version if primary else ideal
    host = f"{model.name}.{model.namespace}.svc:{names.REST_PORT}"
    return ModelStatus(
        observed_generation=model.generation,
        conditions=conditions(decision, values),
        serving=serving_column(decision.endpoints),
        target="" if target is None else str(target),
        phase=phase,
        ready=f"{sum(pod.ready for pod in live)}/{wanted}",
        message=message(decision, values),
        url=f"http://{host}/v1/models/{model.model_name}",
        replicas=scale_replicas(decision),
        selector=scale_selector(decision),
        versions=list(decision.rows),
        retention=model.status.retention,
        transition=model.status.transition,
        rollout=model.status.rollout,
        honoured=model.status.honoured,
    )
