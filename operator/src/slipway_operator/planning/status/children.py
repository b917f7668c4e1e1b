"""What is the matter with a Model's children that no version's row tells: labels, edited templates."""

from typing import Final

from slipway_operator.api import names
from slipway_operator.api.status import VersionState
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.endpoints import live_pods

_BAD: Final = frozenset({VersionState.FAILED, VersionState.REJECTED, VersionState.ROLLED_BACK})
_MOST_FIELDS: Final = 5
"""Fields that a message names; a sentence for a column and a condition, not a diff."""


def labels_message(decision: Decision) -> str:
    """Labels whose versions do not serve and are not about to; empty when there is none."""
    if not decision.limits.replicas:
        return ""
    labels = sorted(decision.observed.model.spec.labels.items())
    told = [_label_message(decision, label, version) for label, version in labels]
    return "; ".join(text for text in told if text)


def _label_message(decision: Decision, label: str, version: int) -> str:
    serves = any(pod.ready and pod.version == version for pod in live_pods(decision.observed))
    row = decision.rows_by_version.get(version)
    settles = row is not None and row.state is VersionState.SETTLING and not row.reason
    # One that is on its way is told by its row, and its label moves when it has arrived.
    if serves or settles or decision.desired.of(version):
        return ""
    why, advice = _why_not(decision, version)
    return f"label {label}: version {version} {why}, so {_effect(decision, label)}: {advice}"


def _why_not(decision: Decision, version: int) -> tuple[str, str]:
    """Why a version does not serve, and what to do."""
    source, row = decision.observed.source, decision.rows_by_version.get(version)
    move = "change spec.labels"
    if row and row.state in _BAD:
        return f"is {row.state} ({row.reason})", move
    if row and row.state is VersionState.SETTLING:
        return f"is not complete ({row.message})", f"complete its upload, or {move}"
    if source.polled and not source.error_reason and version not in decision.listed:
        return "is not in the source", f"upload it, or {move}"
    serving = {servable.version for servable in decision.desired.servables}
    both = ", ".join(str(number) for number in sorted(serving | {version}))
    return (
        "is not selected by spec.versions",
        f"set spec.versions to {{specific: [{both}]}}, or {move}",
    )


def _effect(decision: Decision, label: str) -> str:
    """What the Service of a label does meanwhile."""
    name = names.label_service(decision.observed.model.name, label)
    child = decision.observed.child("Service", name)
    if child is None:
        return f"Service {name} does not exist"
    selected = child.manifest["spec"]["selector"].get(names.VERSION_LABEL)
    if any(p.ready and str(p.version) == selected for p in live_pods(decision.observed)):
        return f"Service {name} still leads to version {selected}"
    return f"Service {name} refuses every connection"


def edited_message(decision: Decision) -> str:
    """Deployments whose pod templates someone else has edited; empty when there is none."""
    told = []
    for found in decision.observed.deployments:
        if not found.edited or found.servable not in decision.desired.ids:
            continue
        fields = ", ".join(found.edited[:_MOST_FIELDS])
        if (more := len(found.edited) - _MOST_FIELDS) > 0:
            fields += f" and {more} more"
        who = f" by {', '.join(found.editors)}" if found.editors else ""
        told.append(
            f"the pod template of Deployment {found.name} was edited{who}: {fields}; its pods are "
            "not what the Model asks for, and the operator edits no template: put the fields back, "
            "or delete the Deployment, which is then created anew, its pods too"
        )
    return "; ".join(told)
