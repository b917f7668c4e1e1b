"""Condition types and the reasons they can have: one sentence each.

All four have positive polarity except Degraded, which is True when something needs a person.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """Types of the conditions of a Model; Ready is written last and is what people wait for."""

    SOURCE_READY = "SourceReady"
    """The object store answers and at least one version in it is complete."""
    PROGRESSING = "Progressing"
    """A version is being rolled out."""
    DEGRADED = "Degraded"
    """Something is wrong that will not resolve by itself."""
    READY = "Ready"
    """All replicas of every desired version serve, or the last good ones do in a transition."""


class Reason(StrEnum):
    """Every reason that a condition, a version or an Event can carry."""

    # Source
    LISTED = "Listed"
    """The store was listed."""
    NOT_POLLED_YET = "NotPolledYet"
    """The operator has just started and has not listed the store yet."""
    NO_VERSIONS = "NoVersions"
    """The source has no version directory; nothing is unloaded because of that."""
    NO_COMPLETE_VERSION = "NoCompleteVersion"
    """There are version directories, but none is complete."""
    ACCESS_DENIED = "AccessDenied"
    """The store refused the credentials."""
    NOT_FOUND = "NotFound"
    """The bucket does not exist."""
    UNAVAILABLE = "Unavailable"
    """The store does not answer."""
    INVALID_SOURCE = "InvalidSource"
    """The source cannot be used as specified."""
    CREDENTIALS_MISSING = "CredentialsMissing"
    """A Secret, ConfigMap or ServiceAccount that the source names, or an entry or annotation of it, does
    not exist or is invalid."""
    CREDENTIALS_FORBIDDEN = "CredentialsForbidden"
    """RBAC does not let the operator use what the source names; the message says how to allow it."""
    HOST_NOT_ALLOWED = "HostNotAllowed"
    """The annotation slipway.dev/hosts of the Secret does not name the host of the source, or of its proxy."""

    WATCHER_NOT_READY = "WatcherNotReady"
    """The pod that lists a volume for the operator is not running; the message says why."""

    # Claims
    CLAIM_MISSING = "ClaimMissing"
    """The PersistentVolumeClaim does not exist."""
    CLAIM_UNUSABLE = "ClaimUnusable"
    """The PersistentVolumeClaim exists, but pods cannot use it in the required way."""
    CLAIM_EXCLUSIVE = "ClaimExclusive"
    """The spec needs more pods at a time than can mount the claim."""
    CLAIM_NOT_GROWN = "ClaimNotGrown"
    """The claim could not be expanded; the message is the API server's."""

    # Progress and readiness
    AVAILABLE = "Available"
    """All desired versions serve."""
    TRANSITION = "Transition"
    """A version is replacing another."""
    WAITING_FOR_SOURCE = "WaitingForSource"
    """No version can be started until the source has a complete one."""
    REPLICAS_NOT_READY = "ReplicasNotReady"
    """Fewer replicas are ready than desired."""
    SCALED_TO_ZERO = "ScaledToZero"
    """Zero replicas are desired."""
    SERVING_GAP = "ServingGap"
    """ResourcePreserving with one replica: nothing serves while the only pod is replaced."""
    PAUSED = "Paused"
    """spec.paused is true."""
    INVALID_SPEC = "InvalidSpec"
    """The API server accepted a spec that the operator cannot use."""
    AS_DESIRED = "AsDesired"
    """No action is needed."""

    # Retention
    LISTING_DOUBTFUL = "ListingDoubtful"
    """The source's listing may be incomplete: retention deletes nothing."""
    RETENTION_DENIED = "RetentionDenied"
    """The store does not let the Model's credentials delete old exports."""
    RETENTION_FAILED = "RetentionFailed"
    """An old export could not be deleted; the operator retries."""

    # Versions
    INCOMPLETE = "Incomplete"
    """A file is missing or too short; the upload may still be running."""
    REJECTED = "Rejected"
    """The export is invalid and is not loaded."""
    CONTENT_CHANGED = "ContentChanged"
    """The content of a version number that serves has changed in the source."""
    UNSCHEDULABLE = "Unschedulable"
    """A pod cannot be scheduled; the message is the scheduler's."""
    LOAD_FAILED = "LoadFailed"
    """The server could not load the version; the message is TensorFlow's."""
    CRASHED = "Crashed"
    """The server crashed while loading the version."""
    SYNC_FAILED = "SyncFailed"
    """The export could not be downloaded to the pod or verified there."""
    POD_CANNOT_START = "PodCannotStart"
    """The kubelet cannot start the pod, for example because an image cannot be pulled."""
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    """The version made no progress for spec.transition.progressDeadline."""
    TEMPLATE_EDITED = "TemplateEdited"
    """Someone has edited the pod template of a version's Deployment; the message names the fields."""
    LABEL_NOT_SERVED = "LabelNotServed"
    """A label of spec.labels stands for a version that does not serve."""
    ROLLED_BACK = "RolledBack"
    """Traffic was rolled back to the previous version."""
    SOURCE_GONE = "SourceGone"
    """It serves, but its export is no longer in the source."""
    NAME_CONFLICT = "NameConflict"
    """An object with this name exists and is not owned by the Model."""
    POD_LABELS_CONFLICT = "PodLabelsConflict"
    """spec.serving.podLabels would make the pods endpoints of a Service that is not the Model's."""

    # States that stand for themselves
    SETTLING = "Settling"
    """The listing of the export has not been unchanged for spec.source.settle yet."""
    FAILED = "Failed"
    """The version could not be started."""

    # Exports
    EMPTY = "Empty"
    """The version directory holds no object yet."""
    MISSING_MARKER = "MissingMarker"
    """The object that spec.source.completionMarker names is missing."""
    MISSING_GRAPH = "MissingGraph"
    """There is no saved_model.pb or saved_model.pbtxt."""
    UNREADABLE_GRAPH = "UnreadableGraph"
    """The graph is empty or cannot be parsed."""
    MISSING_TAGS = "MissingTags"
    """No graph of the export has the tags of spec.serving.tags."""
    MISSING_VARIABLES = "MissingVariables"
    """The graph needs variables whose index is missing."""
    UNREADABLE_INDEX = "UnreadableIndex"
    """The index of the variables is empty or cannot be parsed."""
    MISSING_SHARD = "MissingShard"
    """A shard that the index of the variables names is missing."""
    SHARD_TOO_SHORT = "ShardTooShort"
    """A shard ends before a tensor that the index places in it."""
    CORRUPT_SHARD = "CorruptShard"
    """The checksum of a tensor in a shard does not match the index."""
    MISSING_ASSET = "MissingAsset"
    """An asset that the graph names is missing."""
    HOSTILE_KEY = "HostileKey"
    """A key of the export is not a valid relative path."""
    TOO_MANY_OBJECTS = "TooManyObjects"
    """The version directory holds more objects than an export may have."""
    UNREADABLE_MANIFEST = "UnreadableManifest"
    """SHA256SUMS is empty, too large or cannot be parsed."""
    MISSING_FILE = "MissingFile"
    """A file that SHA256SUMS names is missing."""
    UNSIGNED = "Unsigned"
    """spec.source.signature asks for a signature, and the export has none."""
    WRONG_SIGNATURE = "WrongSignature"
    """SHA256SUMS.sig is by none of the keys of spec.source.signature."""
    UNSIGNED_FILE = "UnsignedFile"
    """SHA256SUMS of a signed export does not name a file of it."""
    WRONG_DIGEST = "WrongDigest"
    """A file differs from its digest in SHA256SUMS."""
    MOVED = "Moved"
    """The export changed while it was being checked."""
    OBJECT_DIFFERS = "ObjectDiffers"
    """An object that was downloaded is not the one that was listed."""
    TRUNCATED = "Truncated"
    """The store ended a download early."""
    WRONG_SIZE = "WrongSize"
    """An object that was downloaded does not have the listed size."""
    WRONG_CHECKSUM = "WrongChecksum"
    """An object that was downloaded does not have the checksum that the store states for it."""

    # Syncs
    USAGE = "Usage"
    """The sync agent was started with arguments that it does not accept."""
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    """The sync agent gets no answer from the store, and tries again."""
    VOLUME_ERROR = "VolumeError"
    """The volume in the pod is full or cannot be written."""
    REVISION_MOVED = "RevisionMoved"
    """The export changed between the operator's listing and the sync."""


def reason_of(text: str, otherwise: Reason) -> Reason:
    """The reason that another process wrote; `otherwise` for one that this release does not know.

    >>> reason_of("MissingShard", Reason.REJECTED).value, reason_of("Later", Reason.REJECTED).value
    ('MissingShard', 'Rejected')
    """
    try:
        return Reason(text)
    except ValueError:
        return otherwise


class EventReason(StrEnum):
    """Reasons of Events that are not the reason of a condition or a version."""

    VERSION_STARTING = "VersionStarting"
    """The first pod of a version is being started."""
    VERSION_AVAILABLE = "VersionAvailable"
    """All replicas of a version are ready."""
    VERSION_RETIRED = "VersionRetired"
    """A version no longer serves, and its pods are gone."""
    VERSION_UNSCHEDULABLE = "VersionUnschedulable"
    """A pod of a version cannot be scheduled, or cannot have its volume."""
    VERSION_REJECTED = "VersionRejected"
    """The export of a version is invalid."""
    VERSION_FAILED = "VersionFailed"
    """A version could not be started."""
    VERSION_ROLLED_BACK = "VersionRolledBack"
    """A version failed after it had taken requests; they went back to the version before."""
    SOURCE_GONE = "SourceGone"
    """A version serves, but its export is no longer in the source."""
    SOURCE_READY = "SourceReady"
    """The source was listed and holds a complete version."""
    WOULD_DELETE = "WouldDelete"
    """Retention names an export that it is going to delete."""
    DELETED = "Deleted"
    """Retention has deleted an export from the source."""
