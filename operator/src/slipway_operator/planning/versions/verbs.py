"""What a person asked for by annotation, acted on once: abort and retry.

Each is written into the snapshot's status together with the mark that it was acted on, and so both reach
the API server in one write, or neither does. Rollback needs no mark: it is a version policy while it lasts.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from slipway_operator.api.conditions import Reason
from slipway_operator.api.status import HonouredVerbs, ModelStatus, VersionState, VersionStatus
from slipway_operator.api.verbs import Request, Verb
from slipway_operator.model.observed import Observed
from slipway_operator.model.servable import Servable
from slipway_operator.planning.versions.desired import DesiredVersions, desired_versions
from slipway_operator.planning.versions.diagnosis import Finding
from slipway_operator.planning.versions.failures import is_proven, record_failure

NO_EFFECT: Final = "had no effect"
"""In what is told of a request for which there was nothing to do."""


def honour(observed: Observed, now: datetime) -> Observed:
    """The snapshot with what is asked for, and was not acted on yet, written into its status.

    Asked for both at once, a version is not tried: nobody can tell which was meant to be the last word.
    """
    verbs, known = observed.verbs, observed.model.status.honoured or HonouredVerbs()
    retry, abort = _new(verbs.retry, known.retry), _new(verbs.abort, known.abort)
    told = known.message
    if retry:
        observed, told = _retry(observed, retry)
    if abort:
        observed, told = _abort(observed, abort, now)
    marks = HonouredVerbs(
        retry=verbs.retry.text if verbs.retry else "",
        abort=verbs.abort.text if verbs.abort else "",
        message=told,
    )
    return _with_status(observed, honoured=marks if marks.retry or marks.abort else None)


def _new(request: Request | None, honoured: str) -> Request | None:
    """A request that was not acted on yet: each value is, once."""
    return request if request is not None and request.text != honoured else None


def _retry(observed: Observed, request: Request) -> tuple[Observed, str]:
    """Forget the failure that the request answers."""
    version = request.version
    row = _row(observed.model.status, version)
    if row is None:
        return observed, f"{_told(Verb.RETRY)} {NO_EFFECT}: version {version} is not known"
    if not row.failed_key:
        refused = row.state is VersionState.REJECTED
        why = f"its export is invalid: {row.message}" if refused else "it has not failed"
        return observed, f"{_told(Verb.RETRY)} {NO_EFFECT} on version {version}: {why}"
    # The row of a version that goes on with its earlier inputs is as it is, but for the reason.
    forgotten = row.model_copy(update={"failed_key": "", "reason": "", "message": ""})
    others = [other for other in observed.model.status.versions if other.version != version]
    told = f"version {version} is tried again, as {_told(Verb.RETRY)} asks"
    return _with_status(observed, versions=[forgotten, *others]), told


def _abort(observed: Observed, request: Request, now: datetime) -> tuple[Observed, str]:
    """Record the target of a transition as one that has failed."""
    version = request.version
    desired = desired_versions(observed)
    servable = desired.of(version)
    if servable is None or not _under_way(observed, desired, servable):
        return observed, (
            f"{_told(Verb.ABORT)} {NO_EFFECT}: there is no transition to version {version}; to go back "
            f"from a version that serves, use {Verb.ROLLBACK.annotation}"
        )
    finding = Finding(
        VersionState.ROLLED_BACK,
        Reason.ABORTED,
        f"the transition was given up, as {_told(Verb.ABORT)} asked; it is tried again when the export or the "
        f"spec changes, or {Verb.RETRY.annotation} asks for it",
        final=True,
    )
    told = f"the transition to version {version} is given up, as {_told(Verb.ABORT)} asks"
    return record_failure(observed, servable, finding, now), told


def _under_way(observed: Observed, desired: DesiredVersions, servable: Servable) -> bool:
    """Whether a desired servable is on its way to serve, and what it replaces can come back."""
    if desired.candidates[servable.version].wanted != servable:
        return False  # What goes on because its successor has failed.
    row = _row(observed.model.status, servable.version)
    if not is_proven(row, servable.key):
        return True
    under_way = servable == desired.primary and observed.model.status.transition is not None
    return under_way and _its_own(observed.model.status, servable)


def _its_own(status: ModelStatus, servable: Servable) -> bool:
    """Whether the transition is to a servable, and not what comes after another one's failure or an edit.

    Otherwise what drains may be all that is left besides it, and cannot come back.
    """
    if status.rollout is not None and status.rollout.key == servable.key:
        return True
    last = status.history[0] if status.history else None
    return last is not None and last.key == servable.key and not (last.outcome or last.ended_at)


def _told(verb: Verb) -> str:
    return f"annotation {verb.annotation}"


def _row(status: ModelStatus, version: int) -> VersionStatus | None:
    return next((row for row in status.versions if row.version == version), None)


def _with_status(observed: Observed, **fields: object) -> Observed:
    changed = observed.model.status.model_copy(update=fields)
    return replace(observed, model=replace(observed.model, status=changed))
