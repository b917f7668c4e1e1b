"""`spec.serving` of a Model: the pods of each version."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from slipway_operator.api.fields import (
    KEY_PATTERN,
    NAME_PATTERN,
    NO_NAME,
    ObjectName,
    ShortText,
    SpecType,
    label_map,
    object_names,
)
from slipway_operator.api.quantities import Duration, Quantity, quantities, quantity, within
from slipway_operator.api.rules import Rule, matches_cel

TAG_PATTERN = r"^[A-Za-z0-9_.-]+$"

StringMap = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=32)
]


class Resources(SpecType):
    """Compute resources of the server container, as in a pod."""

    rules: ClassVar[tuple[Rule, ...]] = (quantities("limits"), quantities("requests"))

    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """Limits, GPUs included: nvidia.com/gpu: 1."""
    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """Requests."""


class EnvVar(SpecType):
    """An environment variable of the server container."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=253)]
    """Name of the variable."""
    value: Annotated[str, StringConstraints(max_length=4096)] = ""
    """Value, taken literally: a $ is a $, and $(VAR) is not expanded."""


class Toleration(SpecType):
    """A toleration, as in a pod."""

    key: ShortText = ""
    """Key of the taint; empty with Exists matches every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Exists ignores value; Equal compares it."""
    value: ShortText = ""
    """Value of the taint."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Effect of the taint; empty matches every effect."""
    toleration_seconds: (
        Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None
    ) = None
    """How many seconds NoExecute is tolerated; forever if absent."""


class Batching(SpecType):
    """How the server batches requests for the same version and signature."""

    rules: ClassVar[tuple[Rule, ...]] = (
        within("timeout", "0s", "1m"),
        Rule(
            cel="!has(self.allowedBatchSizes) || self.allowedBatchSizes.size() == 0 || ("
            "self.allowedBatchSizes[self.allowedBatchSizes.size() - 1] == self.maxBatchSize && "
            "self.allowedBatchSizes.all(n, self.allowedBatchSizes.exists_one(m, m == n)) && "
            "self.allowedBatchSizes.isSorted())",
            holds=lambda b: (
                not b.allowed_batch_sizes
                or (
                    b.allowed_batch_sizes[-1] == b.max_batch_size
                    and b.allowed_batch_sizes == sorted(set(b.allowed_batch_sizes))
                )
            ),
            message="allowedBatchSizes must be strictly ascending and end with maxBatchSize, for example [1, 8, 32] "
            "with maxBatchSize 32",
        ),
    )

    max_batch_size: Annotated[
        int, Field(ge=1, le=100_000, json_schema_extra={"format": "int32"})
    ] = 32
    """Maximum rows per batch, and per request."""
    timeout: Duration = "0s"
    """How long a partial batch waits for more requests; 0s runs it immediately."""
    allowed_batch_sizes: Annotated[
        list[Annotated[int, Field(ge=1, le=100_000)]], Field(max_length=32)
    ] = Field(default_factory=list)
    """Batches are padded up to the next of these sizes; empty disables padding."""
    max_enqueued_batches: Annotated[
        int, Field(ge=1, le=100_000, json_schema_extra={"format": "int32"})
    ] = 10
    """Maximum queued batches per signature; further requests fail with UNAVAILABLE."""
    threads: Annotated[int, Field(ge=0, le=1024, json_schema_extra={"format": "int32"})] = 0
    """Batches that run concurrently; 0 means one per CPU."""
    pad_variable_length_inputs: bool = False
    """Whether inputs with different inner shapes are padded to the largest in the batch."""


class ClaimTemplate(SpecType):
    """The PersistentVolumeClaim NAME-cache, owned by the Model."""

    rules: ClassVar[tuple[Rule, ...]] = (
        quantity("size"),
        *object_names("storageClassName"),
    )

    size: Quantity
    """Requested storage: room for the cached versions plus one more, for example 50Gi."""
    storage_class_name: ShortText = ""
    """StorageClass; empty means the cluster's default."""
    access_modes: Annotated[
        list[Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]],
        Field(min_length=1, max_length=3),
    ]
    """ReadWriteMany lets pods run on every node, ReadWriteOnce keeps them on one, and
    ReadWriteOncePod allows one pod at a time."""


class Cache(SpecType):
    """Persistent model cache: a volume that keeps versions, so that new pods do not download them again."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.claimTemplate) != (self.persistentVolumeClaim != '')",
            holds=lambda c: (c.claim_template is not None) != bool(c.persistent_volume_claim),
            message="cache takes either persistentVolumeClaim (the name of a claim in this "
            "namespace) or claimTemplate",
        ),
        *object_names("persistentVolumeClaim"),
    )

    persistent_volume_claim: ShortText = ""
    """Name of an existing claim in this namespace; several Models may share it."""
    claim_template: ClaimTemplate | None = None
    """Creates a claim that is owned by the Model and deleted with it."""


class Serving(SpecType):
    """The pods of each version."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.podLabels.all(k, !k.startsWith('slipway.dev/'))",
            holds=lambda s: not any(k.startswith("slipway.dev/") for k in s.pod_labels),
            message="podLabels must not set labels under slipway.dev/; they are reserved for the operator",
        ),
        label_map("podLabels"),
        label_map("nodeSelector"),
        Rule(
            cel=f"!has(self.podAnnotations) || self.podAnnotations.all(k, {matches_cel('k', KEY_PATTERN)})",
            holds=lambda s: all(re.fullmatch(KEY_PATTERN, k) for k in s.pod_annotations),
            message="podAnnotations: a key is up to 63 letters, digits, -, _ and ., with an optional "
            "prefix, for example example.com/team",
        ),
        Rule(
            cel=f"!has(self.imagePullSecrets) || self.imagePullSecrets.all(n, {matches_cel('n', NAME_PATTERN)})",
            holds=lambda s: all(re.fullmatch(NAME_PATTERN, n) for n in s.image_pull_secrets),
            message=f"imagePullSecrets: one of them {NO_NAME}",
        ),
        *object_names("priorityClassName", "runtimeClassName", "serviceAccount"),
        Rule(
            cel=f"self.tags.all(t, {matches_cel('t', TAG_PATTERN)})",
            holds=lambda s: all(re.fullmatch(TAG_PATTERN, t) for t in s.tags),
            message="tags: a tag is made of letters, digits, -, _ and ., for example serve",
        ),
    )

    replicas: Annotated[int, Field(ge=0, le=1000, json_schema_extra={"format": "int32"})] = 1
    """Pods per serving version; an autoscaler may set it through the scale subresource."""
    resources: Resources = Field(default_factory=Resources, json_schema_extra={"default": {}})
    """Compute resources of the server container."""
    cache: Cache | None = None
    """Persistent model cache; if absent, each new pod downloads its version."""
    tags: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=64)]],
        Field(min_length=1, max_length=8),
    ] = Field(default_factory=lambda: ["serve"], json_schema_extra={"default": ["serve"]})
    """Tag set of the MetaGraph to load (exact match); an export without it is Rejected."""
    batching: Batching | None = None
    """Server-side request batching; if absent, each request runs by itself."""
    image: Annotated[str, StringConstraints(max_length=512)] = ""
    """Server image; empty means the image configured in the operator when the version starts."""
    image_pull_secrets: Annotated[list[ObjectName], Field(max_length=8)] = Field(
        default_factory=list
    )
    """Names of image pull Secrets in this namespace."""
    env: Annotated[list[EnvVar], Field(max_length=64)] = Field(default_factory=list)
    """Environment variables of the server container."""
    pod_labels: StringMap = Field(default_factory=dict, json_schema_extra={"default": {}})
    """Additional labels of the pods. No version is started with labels that make its pods endpoints of a
    Service that is not the Model's."""
    pod_annotations: StringMap = Field(default_factory=dict)
    """Additional annotations of the pods."""
    node_selector: StringMap = Field(default_factory=dict)
    """Node selector of the pods."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = Field(default_factory=list)
    """Tolerations of the pods."""
    priority_class_name: ShortText = ""
    """PriorityClass of the pods."""
    runtime_class_name: ShortText = ""
    """RuntimeClass of the pods."""
    service_account: ShortText = ""
    """ServiceAccount of the pods; its API token is never mounted."""
    drain_seconds: Annotated[int, Field(ge=0, le=3600, json_schema_extra={"format": "int32"})] = 12
    """Maximum seconds that a terminating pod keeps answering requests; it stops earlier once no client is connected."""
