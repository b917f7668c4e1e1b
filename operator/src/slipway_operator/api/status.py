"""`status` of a Model: the observed state. Every column that kubectl prints is one string here."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, StringConstraints

from slipway_operator.api.conditions import ConditionType
from slipway_operator.api.fields import VersionNumber
from slipway_operator.api.rules import ApiType

_LONGEST: Final = 4096


def _cut(text: Any) -> Any:
    """What others say, such as a gateway or a webhook, may be longer than the schema: no plan fails for it."""
    return f"{text[: _LONGEST - 1]}…" if isinstance(text, str) and len(text) > _LONGEST else text


Text = Annotated[
    str,
    StringConstraints(max_length=_LONGEST),
    BeforeValidator(_cut),
    PlainSerializer(_cut, return_type=str),  # model_copy validates nothing.
]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})]


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class VersionState(StrEnum):
    """States of a version, in the order it goes through them, then the side states."""

    DISCOVERED = "Discovered"
    """Found in the source, but not selected by the version policy, or not started yet."""
    SETTLING = "Settling"
    """Waiting until its file listing is unchanged for `settle`, or until missing files arrive."""
    SYNCING = "Syncing"
    """A pod is downloading its files."""
    LOADING = "Loading"
    """The server is loading it."""
    CANARY = "Canary"
    """It takes a part of the requests, as a step of spec.rollout says."""
    AVAILABLE = "Available"
    """All its replicas are ready."""
    DRAINING = "Draining"
    """Its pods are shutting down."""
    RETIRED = "Retired"
    """It served before and no longer does."""
    REJECTED = "Rejected"
    """The export is invalid; the message names the file."""
    UNSCHEDULABLE = "Unschedulable"
    """A pod cannot be scheduled; the message says what is missing."""
    FAILED = "Failed"
    """It could not start; the message is the pod's own error."""
    ROLLED_BACK = "RolledBack"
    """It failed, and traffic was rolled back to the previous version."""
    SOURCE_GONE = "SourceGone"
    """It serves, but its export is no longer in the source: a lost pod could not be replaced."""


BAD_STATES: Final = frozenset(
    {VersionState.FAILED, VersionState.REJECTED, VersionState.ROLLED_BACK}
)
"""States of a version that cannot serve as it is."""


class Condition(ApiType):
    """A `metav1.Condition`."""

    type: ConditionType
    """Type of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Status of the condition."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """Generation of the spec this was computed from."""
    last_transition_time: Timestamp
    """When status last changed."""
    reason: Annotated[str, StringConstraints(max_length=128)]
    """CamelCase reason."""
    message: Text
    """One sentence that a person can act on."""


class VersionStatus(ApiType):
    """One version of the model."""

    version: VersionNumber
    """Version number."""
    revision: Annotated[str, StringConstraints(max_length=64)] = ""
    """Hash of the export's file listing; changes with the export."""
    digest: Annotated[str, StringConstraints(max_length=80)] = ""
    """Hash of the export's content, computed by the pods that synced it."""
    key: Annotated[str, StringConstraints(max_length=32)] = ""
    """Hash of the inputs of its pod template, including the revision."""
    available_key: Annotated[str, StringConstraints(max_length=32)] = ""
    """Key with which all replicas have been ready once; pods with this key are no longer failed."""
    failed_key: Annotated[str, StringConstraints(max_length=32)] = ""
    """Key that failed last; not retried until the revision or the spec changes."""
    failed_reason: Annotated[str, StringConstraints(max_length=128)] = ""
    """CamelCase reason for which that key failed, also when `reason` tells something else by now."""
    bytes: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = 0
    """Size of the export in bytes."""
    state: VersionState
    """State of the version."""
    reason: Annotated[str, StringConstraints(max_length=128)] = ""
    """CamelCase reason; empty if there is nothing to report."""
    message: Text = ""
    """One sentence that a person can act on."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of requests without a version that it takes, in percent, by its number of ready endpoints."""
    replicas: Count = 0
    """Number of pods."""
    ready_replicas: Count = 0
    """Number of ready pods."""
    since: Timestamp
    """When it came into this state."""


class PreflightStatus(ApiType):
    """What tries a version out before an old pod goes for it; survives restarts of the operator."""

    version: VersionNumber
    """Version number."""
    key: Annotated[str, StringConstraints(max_length=32)]
    """Hash of the inputs of its pod template."""
    check: Literal["Verify", "Load"]
    """What is done, as spec.transition.preflight says."""
    state: Literal["Running", "Passed", "Skipped"]
    """Running: no old pod goes yet. Passed: the transition goes on. Skipped: it goes on although nothing
    could be tried out."""
    since: Timestamp
    """When it came into this state."""
    waiting_since: Timestamp | None = None
    """Since when its pod has had no room, or could not be created; absent otherwise."""
    message: Text = ""
    """How far it is, or why it was skipped; empty if there is nothing to say."""


class TransitionStatus(ApiType):
    """A transition under way; survives restarts of the operator."""

    replicas: Count
    """spec.serving.replicas when it began."""
    since: Timestamp
    """When it began."""
    waiting_since: Timestamp | None = None
    """Since when a new pod has had no room; absent if none waits, or only for pods that shut down."""
    fallback: Literal["", "ResourcePreserving"] = ""
    """Policy that it continues with because of spec.transition.whenUnschedulable; empty: the spec's."""
    message: Text = ""
    """Why it continues with another policy, or cannot; empty if there is nothing to say."""
    preflight: PreflightStatus | None = None
    """The last version that was tried out before an old pod goes for it; absent if none was."""


class AnalysisStatus(ApiType):
    """Comparison of two versions in the step under way."""

    since: Timestamp
    """When the interval under way began, or an earlier one: what the last interval has shown is
    written here if it differs from the one before, and otherwise every five minutes."""
    passed: Count = 0
    """Of the intervals of this step that were written here, those in which the new version was not worse."""
    outcome: Annotated[str, StringConstraints(max_length=16)] = ""
    """What the last interval has shown: Good, Worse or Unknown; empty before it ends."""
    message: Text = ""
    """The same with its numbers, or that an interval began anew, and why."""


class RolloutStatus(ApiType):
    """The rollout under way in steps; survives restarts of the operator."""

    version: VersionNumber
    """Version that takes over."""
    key: Annotated[str, StringConstraints(max_length=32)]
    """Hash of the inputs of its pod template."""
    stable: VersionNumber
    """Version that it takes over from."""
    stable_key: Annotated[str, StringConstraints(max_length=32)]
    """Hash of the inputs of that version's pod template."""
    plan: Annotated[str, StringConstraints(max_length=64)]
    """Hash of spec.rollout.steps; if they change, the steps begin anew."""
    step: Count
    """Current step, from 1; one more than steps when all are done and the version takes the rest."""
    steps: Count
    """Number of steps."""
    weight: Annotated[int, Field(ge=0, le=100)]
    """Share of requests without a version that the step asks for, in percent."""
    reached: Annotated[int, Field(ge=0, le=100)]
    """Share that it has, in percent: by its number of ready endpoints, or the weight that the gateways of
    spec.traffic.gateway have taken up."""
    since: Timestamp
    """When the step began."""
    reached_at: Timestamp | None = None
    """When the step had its pods, and its weight where a gateway has one; the pause begins then."""
    waiting_for: Annotated[str, StringConstraints(max_length=32)] = ""
    """What the next step waits for: Pods, Gateway, Duration, Approval, Analysis or Promotion; empty when all
    steps are done."""
    analysis: AnalysisStatus | None = None
    """Comparison with the old version; absent without spec.rollout.analysis, and until the step has its pods."""


class TransitionCause(StrEnum):
    """What began a transition."""

    NEW_EXPORT = "NewExport"
    """An export appeared in the source, or replaced another one."""
    SPEC_CHANGE = "SpecChange"
    """The spec was edited."""
    ROLLBACK = "Rollback"
    """The annotation slipway.dev/rollback was set."""
    ROLLBACK_LIFTED = "RollbackLifted"
    """The annotation slipway.dev/rollback was removed."""
    RETRY = "Retry"
    """The annotation slipway.dev/retry asked for it."""
    FALLBACK = "Fallback"
    """What should serve cannot, and this version was known already."""


class TransitionOutcome(StrEnum):
    """How a transition ended."""

    COMPLETED = "Completed"
    """The version has all requests, and no other pod is left."""
    FAILED = "Failed"
    """The version failed, and there was nothing to go back to."""
    ROLLED_BACK = "RolledBack"
    """The version failed, and what served before went on or came back."""
    ABORTED = "Aborted"
    """The annotation slipway.dev/abort gave it up."""
    SUPERSEDED = "Superseded"
    """Another version became the target before it had arrived."""


class TransitionRecord(ApiType):
    """A transition that has ended, or the one under way."""

    from_: Annotated[str, StringConstraints(max_length=512)] = Field(default="", alias="from")
    """What served before, as in status.serving; empty if nothing did."""
    to: Annotated[str, StringConstraints(max_length=32)]
    """Version that was to serve."""
    key: Annotated[str, StringConstraints(max_length=32)] = ""
    """Hash of the inputs of its pod template."""
    digest: Annotated[str, StringConstraints(max_length=80)] = ""
    """Hash of the export's content, once a pod has synced it."""
    cause: TransitionCause
    """What began it."""
    by: Annotated[str, StringConstraints(max_length=128)] = ""
    """Field manager that set the annotation or edited the spec, as the API server notes it; empty if not known."""
    started_at: Timestamp
    """When it was decided."""
    ended_at: Timestamp | None = None
    """When it had ended; absent while it is under way."""
    duration: Annotated[str, StringConstraints(max_length=16)] = ""
    """Time from start to end, in seconds, such as 42s; includes the way back of one that failed."""
    outcome: TransitionOutcome | None = None
    """How it ended; of one that failed it is known while the way back is under way."""
    reason: Annotated[str, StringConstraints(max_length=128)] = ""
    """Why it failed, as a CamelCase reason."""
    message: Annotated[str, StringConstraints(max_length=1024)] = ""
    """Why it failed, in one sentence."""
    outage_seconds: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = 0
    """Seconds in which no pod took requests although some did before."""
    gap_since: Timestamp | None = None
    """Since when no pod takes requests; absent while one does."""
    back_key: Annotated[str, StringConstraints(max_length=32)] = ""
    """Key of what takes requests instead of a version that failed."""


class HonouredVerbs(ApiType):
    """What was asked for by annotation and acted on; survives restarts of the operator."""

    abort: Annotated[str, StringConstraints(max_length=64)] = ""
    """Value of slipway.dev/abort that was acted on last, as VERSION/NUMBER; empty while there is none."""
    retry: Annotated[str, StringConstraints(max_length=64)] = ""
    """Value of slipway.dev/retry that was acted on last, as VERSION/NUMBER; empty while there is none."""
    message: Text = ""
    """What came of the one that was acted on last, in one sentence."""


class DoomedVersion(ApiType):
    """An export that retention is about to delete."""

    version: VersionNumber
    """Version number."""
    directory: Annotated[str, StringConstraints(max_length=256)]
    """Directory in the source."""
    revision: Annotated[str, StringConstraints(max_length=64)]
    """Hash of the announced file listing; if it differs, nothing is deleted."""
    objects: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """Number of objects in that listing."""
    bytes: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """Total size in bytes."""
    newest: Timestamp
    """When the last object was written, by the store's clock."""
    state: Literal["WouldDelete", "Deleting"]
    """WouldDelete: announced. Deleting: some objects may be gone already."""
    since: Timestamp
    """When it came into this state."""


class RetentionStatus(ApiType):
    """Announced and running deletions; survives restarts of the operator."""

    key: Annotated[str, StringConstraints(max_length=64)] = ""
    """Hash of spec.retention and of the source at the time of the announcement."""
    reason: Annotated[str, StringConstraints(max_length=128)] = ""
    """Why nothing is deleted, as a CamelCase reason; empty if nothing prevents deletion."""
    message: Text = ""
    """What is kept, and what will be deleted when, in one sentence."""
    since: Timestamp | None = None
    """Since when the reason applies."""
    kept: Annotated[list[VersionNumber], Field(max_length=1000)] = Field(default_factory=list)
    """Complete versions that are kept, highest first."""
    versions: Annotated[list[DoomedVersion], Field(max_length=32)] = Field(default_factory=list)
    """Exports to be deleted, lowest first; at most 32 at a time."""


class ModelStatus(ApiType):
    """Observed state."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = 0
    """Generation of the spec this was computed from."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=8,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        ),
    ] = Field(default_factory=list)
    """SourceReady, RoutesAccepted with spec.traffic.gateway, Progressing, Degraded, Ready."""
    serving: Text = ""
    """Versions that take requests without a version, with shares if there are several."""
    target: Text = ""
    """Version that should take these requests."""
    phase: Text = ""
    """Current phase, for people."""
    ready: Text = ""
    """Ready pods / desired pods."""
    message: Text = ""
    """One sentence that a person can act on."""
    url: Text = ""
    """REST URL of the model inside the cluster."""
    replicas: Count = 0
    """Number of pods that share the requests without a version, for the scale subresource; while one version
    replaces another, the number that is wanted."""
    selector: Text = ""
    """Label selector of these pods, for the scale subresource."""
    versions: Annotated[list[VersionStatus], Field(max_length=256)] = Field(default_factory=list)
    """Known versions, highest first; at most 256."""

    retention: RetentionStatus | None = None
    """Retention: announced and running deletions."""
    transition: TransitionStatus | None = None
    """The transition under way; absent when no version replaces another."""
    rollout: RolloutStatus | None = None
    """The rollout under way; absent when no version takes over in steps."""
    honoured: HonouredVerbs | None = None
    """The annotations slipway.dev/abort and slipway.dev/retry that were acted on."""
    history: Annotated[list[TransitionRecord], Field(max_length=10)] = Field(default_factory=list)
    """The last 10 transitions, newest first, with the one that is under way."""

    def as_manifest(self) -> dict[str, Any]:
        """The JSON object that is written to the API server."""
        return self.model_dump(by_alias=True, mode="json")
