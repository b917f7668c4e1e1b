"""What is the matter with a Model's children that no version's row tells: labels, edited templates."""

from collections.abc import Mapping
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.status import BAD_STATES, VersionState
from slipway_operator.api.verbs import Verb
from slipway_operator.model.observed import Deployment
from slipway_operator.planning.decision import Decision
from slipway_operator.planning.endpoints import live_pods
from slipway_operator.planning.status.template_edits import Edits, template_edits
from slipway_operator.rendering.deployment import deployment
from slipway_operator.rendering.inputs import servable
from slipway_operator.rendering.sync_credentials import is_identity_known

_MOST_FIELDS: Final = 5
"""Fields that a message names; a sentence for a column and a condition, not a diff."""


def label_messages(decision: Decision) -> dict[str, str]:
    """Labels whose versions do not serve and are not about to: what is said, by the words it begins with."""
    if not decision.limits.replicas:
        return {}
    labels = sorted(decision.observed.model.spec.labels.items())
    about = {f"label {label}: version {version} ": (label, version) for label, version in labels}
    told = {words: _label_message(decision, words, *of) for words, of in about.items()}
    return {words: text for words, text in told.items() if text}


def _label_message(decision: Decision, words: str, label: str, version: int) -> str:
    serves = any(pod.ready and pod.version == version for pod in live_pods(decision.observed))
    row = decision.rows_by_version.get(version)
    settles = row is not None and row.state is VersionState.SETTLING and not row.reason
    # One that is on its way is told by its row, and its label moves when it has arrived.
    if serves or settles or decision.desired.of(version):
        return ""
    if (found := _why_not(decision, words, version)) is None:
        return ""
    why, advice = found
    return f"{words}{why}, so {_effect(decision, label)}: {advice}"


def _why_not(decision: Decision, words: str, version: int) -> tuple[str, str] | None:
    """Why a version does not serve, and what to do; None while it cannot be known."""
    source, row = decision.observed.source, decision.rows_by_version.get(version)
    move = "change spec.labels"
    if row and row.state in BAD_STATES:
        return f"is {row.state} ({row.reason})", move
    if row and row.state is VersionState.SETTLING:
        return f"is not complete ({row.message})", f"complete its upload, or {move}"
    absent = "is not in the source", f"upload it, or {move}"
    serving = {servable.version for servable in decision.desired.servables}
    both = ", ".join(str(number) for number in sorted(serving | {version}))
    unselected = (
        "is not selected by spec.versions",
        f"set spec.versions to {{specific: [{both}]}}, or {move}",
    )
    if decision.observed.verbs.pinned is not None:
        pinned = Verb.ROLLBACK.annotation
        unselected = (
            f"does not serve while {pinned} pins another",
            f"remove that annotation, or {move}",
        )
    if version in decision.listed:
        return unselected
    if source.polled and not source.error_reason:
        return absent
    # The listing is not known: what was known stays, and nothing is said anew.
    before = "".join(c.message for c in decision.observed.model.status.conditions)
    return next((it for it in (absent, unselected) if f"{words}{it[0]}" in before), None)


def _effect(decision: Decision, label: str) -> str:
    """What the Service of a label does meanwhile."""
    name = names.label_service(decision.observed.model.name, label)
    child = decision.observed.child("Service", name)
    if child is None:
        return f"Service {name} does not exist"
    # Anyone may have taken the selector away, and the operator leaves the Service where it leads.
    selected = (child.manifest["spec"].get("selector") or {}).get(names.VERSION_LABEL)
    if any(p.ready and str(p.version) == selected for p in live_pods(decision.observed)):
        return f"Service {name} still leads to version {selected}"
    return f"Service {name} refuses every connection"


def _edits(decision: Decision, found: Deployment) -> Edits:
    """What someone else did to the template of a desired servable, where it is known what it was.

    Another release, or other flags, may render it otherwise: then nobody has edited it, as far as can be told.
    """
    observed, settings = decision.observed, decision.settings
    if found.edited is None or found.servable not in decision.desired.ids:
        return Edits()
    held = servable(observed.model, found.version, found.directory, found.revision)
    identity = observed.source.identity
    if held.key != found.key or not is_identity_known(observed.model, identity, settings):
        return Edits()
    sharing = decision.volume.sharing
    written = deployment(observed.model, held, found.replicas, settings, identity, sharing)
    if _noted(found.edited) != _noted(written):
        return Edits()
    return template_edits(found.edited, written["spec"]["template"])


def _noted(manifest: Mapping[str, Any]) -> str | None:
    """What a Deployment says its template was when it was created."""
    annotations: Mapping[str, str] = manifest["metadata"].get("annotations") or {}
    return annotations.get(names.TEMPLATE_ANNOTATION)


def edit_messages(decision: Decision) -> dict[str, str]:
    """Deployments whose pod templates someone else has edited: what is said, by the words it begins with."""
    told = {}
    for found in decision.observed.deployments:
        edits = _edits(decision, found)
        if not edits.fields:
            continue
        fields = ", ".join(edits.fields[:_MOST_FIELDS])
        if (more := len(edits.fields) - _MOST_FIELDS) > 0:
            fields += f" and {more} more"
        who = f" by {', '.join(edits.editors)}" if edits.editors else ""
        words = f"the pod template of Deployment {found.name} was edited"
        told[words] = (
            f"{words}{who}: {fields}; its pods are "
            "not what the Model asks for, and the operator edits no template: put the fields back"
        )
    return told
