"""`status` of a Model: what a person sees. Every column that kubectl prints is one string here."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from slipway_operator.api.conditions import ConditionType
from slipway_operator.api.fields import VersionNumber
from slipway_operator.api.rules import ApiType

Text = Annotated[str, StringConstraints(max_length=4096)]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})]


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class VersionState(StrEnum):
    """States of a version, in the order it goes through them, then the side states."""

    DISCOVERED = "Discovered"
    """Seen in the source, not wanted by the version policy now."""
    SETTLING = "Settling"
    """Its listing must stand still for a while, or files are still missing."""
    SYNCING = "Syncing"
    """Its files are on their way to a pod."""
    LOADING = "Loading"
    """The server is loading it."""
    AVAILABLE = "Available"
    """All its replicas are ready."""
    DRAINING = "Draining"
    """Its pods are going."""
    RETIRED = "Retired"
    """It served once, and no more."""
    REJECTED = "Rejected"
    """The export is wrong; the message says which file."""
    UNSCHEDULABLE = "Unschedulable"
    """A pod finds no node; the message says what is missing."""
    FAILED = "Failed"
    """It could not be brought up; the message is the pod's own error."""
    ROLLED_BACK = "RolledBack"
    """It failed, and traffic went back to the version before."""
    SOURCE_GONE = "SourceGone"
    """It serves, but its export is no longer in the source: a lost pod could not be replaced."""


class Condition(ApiType):
    """A `metav1.Condition`."""

    type: ConditionType
    """Of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """Generation of the spec this was computed from."""
    last_transition_time: Timestamp
    """When status last changed."""
    reason: Annotated[str, StringConstraints(max_length=128)]
    """One CamelCase word."""
    message: Text
    """One sentence that a person can act on."""


class VersionStatus(ApiType):
    """One version of the model."""

    version: VersionNumber
    """Its number."""
    revision: Annotated[str, StringConstraints(max_length=64)] = ""
    """Hash over the listing of its export: tells a change."""
    digest: Annotated[str, StringConstraints(max_length=80)] = ""
    """Hash over its content, from the pods that synced it: its identity."""
    key: Annotated[str, StringConstraints(max_length=32)] = ""
    """Hash of what its pods are rendered from, the revision included."""
    available_key: Annotated[str, StringConstraints(max_length=32)] = ""
    """The key under which all its replicas were ready once; such pods are not judged again."""
    failed_key: Annotated[str, StringConstraints(max_length=32)] = ""
    """The key that failed last; it is not tried again until the revision or the spec changes."""
    bytes: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = 0
    """Size of its export."""
    state: VersionState
    """Where it stands."""
    reason: Annotated[str, StringConstraints(max_length=128)] = ""
    """One CamelCase word; empty when there is nothing to say."""
    message: Text = ""
    """One sentence that a person can act on."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of the unversioned requests it takes, in percent, as the pods in rotation give it."""
    replicas: Count = 0
    """Its pods."""
    ready_replicas: Count = 0
    """Its ready pods."""
    since: Timestamp
    """When it came into this state."""


class DoomedVersion(ApiType):
    """An export that retention is about to delete."""

    version: VersionNumber
    """Its number."""
    directory: Annotated[str, StringConstraints(max_length=256)]
    """Its directory in the source."""
    revision: Annotated[str, StringConstraints(max_length=64)]
    """Hash over the listing that was planned; another one is not deleted."""
    objects: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """Objects of that listing."""
    bytes: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """Their size."""
    newest: Timestamp
    """When the last of them was written, by the store's clock."""
    state: Literal["WouldDelete", "Deleting"]
    """Deleting: some objects may be gone already."""
    since: Timestamp
    """When it came into this state."""


class RetentionStatus(ApiType):
    """What retention has said and done; it outlives the operator's process."""

    key: Annotated[str, StringConstraints(max_length=64)] = ""
    """Hash of spec.retention and of the source it was said about."""
    reason: Annotated[str, StringConstraints(max_length=128)] = ""
    """Why nothing is deleted now, as one CamelCase word; empty when nothing is in the way."""
    message: Text = ""
    """One sentence: what stays, and what goes when."""
    since: Timestamp | None = None
    """When it came to that reason."""
    kept: Annotated[list[VersionNumber], Field(max_length=1000)] = Field(default_factory=list)
    """The complete versions that stay, highest first."""
    versions: Annotated[list[DoomedVersion], Field(max_length=32)] = Field(default_factory=list)
    """Exports that are to be deleted, lowest first; at most 32 at a time."""


class ModelStatus(ApiType):
    """What is so now."""

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
    """SourceReady, Progressing, Degraded, Ready."""
    serving: Text = ""
    """Versions that take unversioned requests, with shares when there are several."""
    target: Text = ""
    """Version that should take them."""
    phase: Text = ""
    """What is being done, in a word or two."""
    ready: Text = ""
    """Ready pods of wanted pods."""
    message: Text = ""
    """One sentence that a person can act on."""
    url: Text = ""
    """Where clients inside the cluster reach the model over REST."""
    replicas: Count = 0
    """Pods of all versions."""
    selector: Text = ""
    """Label selector of the pods, for the scale subresource."""
    versions: Annotated[list[VersionStatus], Field(max_length=256)] = Field(default_factory=list)
    """The versions that are known, highest first; at most 256 are kept."""

    retention: RetentionStatus | None = None
    """What retention has said; written by its own passes."""

    def as_manifest(self) -> dict[str, Any]:
        """The JSON object that is written to the API server."""
        return self.model_dump(by_alias=True, mode="json")
