"""`spec` of a Model: what a person asks for."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from slipway_operator.api.names import RESERVED_LABELS
from slipway_operator.api.quantities import (
    Duration,
    IntOrPercent,
    Quantity,
    is_positive_count,
    positive_count_cel,
    quantities,
    within,
)
from slipway_operator.api.rules import ApiType, Rule, attribute, matches_cel, matching

ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
ShortText = Annotated[str, StringConstraints(max_length=253)]
VersionNumber = Annotated[int, Field(ge=0, le=2**63 - 1, json_schema_extra={"format": "int64"})]

URI_PATTERN = r"^s3://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(/[^/\t\r\n]+)*/?$"
ENDPOINT_PATTERN = r"^https?://[^/@?# \t\r\n]+/?$"
LABEL_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$"
VERSION_LIKE_PATTERN = r"^v[0-9]+$"
MODEL_NAME_PATTERN = r"^[^/: \t\r\n]+$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
KEY_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"


_NO_NAME = "is no name: write only a-z, 0-9, - and ., starting and ending with a letter or digit"


class SpecType(ApiType, strict=True):
    """Base of what a person writes: as for the API server, text is no number and no truth value."""


def _names(*fields: str) -> tuple[Rule, ...]:
    """Names of other objects; a name with a slash would reach beyond its namespace."""
    return tuple(matching(field, NAME_PATTERN, f"{field} {_NO_NAME}") for field in fields)


def _labels(field: str) -> Rule:
    """A map of labels; `field` in camelCase."""

    def good(key: str, value: str) -> bool:
        return bool(re.fullmatch(KEY_PATTERN, key) and re.fullmatch(VALUE_PATTERN, value))

    item = f"self.{field}[k]"
    shape = f"{matches_cel('k', KEY_PATTERN)} && {matches_cel(item, VALUE_PATTERN)}"
    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(k, {shape})",
        holds=lambda value: all(good(*pair) for pair in getattr(value, attribute(field)).items()),
        message=f"{field}: keys and values are 63 or fewer of letters, digits, -, _ and ., starting "
        "and ending with a letter or digit; a key may have a prefix, as in example.com/team",
    )


class Source(SpecType):
    """Where the numbered exports lie."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=matches_cel("self.uri", URI_PATTERN),
            holds=lambda s: re.fullmatch(URI_PATTERN, s.uri) is not None,
            message="uri must be s3://BUCKET/PATH, the folder whose children are the numbered "
            "versions, for example s3://models/mnist",
        ),
        matching(
            "endpoint",
            ENDPOINT_PATTERN,
            "endpoint must be http://HOST[:PORT] or https://HOST[:PORT], without a path "
            "and without credentials",
        ),
        *_names("credentialsSecret"),
        within("pollInterval", "1s", "24h"),
        within("settle", "0s", "24h"),
    )

    uri: Annotated[str, StringConstraints(max_length=1024)]
    """Its children are version directories, named by whole numbers: s3://bucket/path."""
    endpoint: Annotated[str, StringConstraints(max_length=512)] = ""
    """Of an S3-compatible store; empty for AWS."""
    region: ShortText = ""
    """Of the bucket; empty means us-east-1."""
    addressing: Literal["path", "virtual"] = "path"
    """Whether the bucket stands in the path or in the host name."""
    credentials_secret: ShortText = ""
    """Secret of this namespace with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, optionally,
    AWS_SESSION_TOKEN; empty reads without signing."""
    poll_interval: Duration = "30s"
    """How often the store is listed; varied by up to a tenth, so that Models do not poll at once."""
    settle: Duration = "5s"
    """How long an export's listing must stand still before it is looked at."""
    completion_marker: ShortText = ""
    """Name of an object in the version directory that says the export is complete; optional."""
    allow_mutation: bool = False
    """Whether a version number may change its content; otherwise what serves goes on serving."""


class VersionPolicy(SpecType):
    """Which versions should serve; exactly one of the three."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="[has(self.latest), has(self.specific), has(self.all)].filter(x, x).size() == 1",
            holds=lambda v: (v.latest, v.specific, v.all).count(None) == 2,  # noqa: PLR2004
            message="versions takes exactly one of latest (a count), specific (a list of numbers) "
            "or all (true), for example {latest: 1}",
        ),
        Rule(
            cel="!has(self.all) || self.all",
            holds=lambda v: v.all is not False,
            message="versions.all can only be true; use latest or specific instead of all: false",
        ),
        Rule(
            cel="!has(self.specific) || self.specific.all(n, self.specific.exists_one(m, m == n))",
            holds=lambda v: v.specific is None or len(set(v.specific)) == len(v.specific),
            message="versions.specific names a version twice; write each number once",
        ),
    )

    latest: Annotated[int, Field(ge=1, le=100)] | None = None
    """So many of the highest complete versions."""
    specific: Annotated[list[VersionNumber], Field(min_length=1, max_length=32)] | None = None
    """Exactly these."""
    all: bool | None = None
    """Every complete version."""


class Transition(SpecType):
    """How versions may replace one another."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=positive_count_cel("self.maxSurge"),
            holds=lambda t: is_positive_count(t.max_surge),
            message="maxSurge must be at least 1 or 1% to 100%; to use no extra pods, set policy "
            "to ResourcePreserving",
        ),
        Rule(
            cel=positive_count_cel("self.maxUnavailable"),
            holds=lambda t: is_positive_count(t.max_unavailable),
            message="maxUnavailable must be at least 1 or 1% to 100%; to keep full capacity, set "
            "policy to AvailabilityPreserving",
        ),
        within("progressDeadline", "1s", "168h"),
    )

    policy: Literal["AvailabilityPreserving", "ResourcePreserving"] = "AvailabilityPreserving"
    """Keep full capacity with extra pods, or never hold more pods than replicas."""
    max_surge: IntOrPercent = "25%"
    """AvailabilityPreserving: extra pods allowed, rounded up; 100% switches all traffic at once."""
    max_unavailable: IntOrPercent = 1
    """ResourcePreserving: pods that may be missing at a time, rounded up."""
    progress_deadline: Duration = "10m"
    """A new version that makes no progress for so long has failed; waiting for hardware or moving
    bytes does not count."""


class Resources(SpecType):
    """Compute resources of the server container, as in a pod."""

    rules: ClassVar[tuple[Rule, ...]] = (quantities("limits"), quantities("requests"))

    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """At most; GPUs stand here: nvidia.com/gpu: 1."""
    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """At least."""


class EnvVar(SpecType):
    """An environment variable of the server container."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=253)]
    """Its name."""
    value: Annotated[str, StringConstraints(max_length=4096)] = ""
    """Its value, taken literally."""


class Toleration(SpecType):
    """A taint that the pods tolerate, as in a pod."""

    key: ShortText = ""
    """Of the taint; empty with Exists means every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How value is compared."""
    value: ShortText = ""
    """Of the taint."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Empty means every effect."""
    toleration_seconds: (
        Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None
    ) = None
    """How long NoExecute is tolerated; for ever when absent."""


StringMap = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=32)
]


class Serving(SpecType):
    """The pods of each version."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.podLabels.all(k, !k.startsWith('slipway.dev/'))",
            holds=lambda s: not any(k.startswith("slipway.dev/") for k in s.pod_labels),
            message="podLabels may not set labels under slipway.dev/; the operator owns them",
        ),
        _labels("podLabels"),
        _labels("nodeSelector"),
        Rule(
            cel=f"!has(self.podAnnotations) || self.podAnnotations.all(k, {matches_cel('k', KEY_PATTERN)})",
            holds=lambda s: all(re.fullmatch(KEY_PATTERN, k) for k in s.pod_annotations),
            message="podAnnotations: a key is 63 or fewer of letters, digits, -, _ and ., and may "
            "have a prefix, as in example.com/team",
        ),
        Rule(
            cel=f"!has(self.imagePullSecrets) || self.imagePullSecrets.all(n, {matches_cel('n', NAME_PATTERN)})",
            holds=lambda s: all(re.fullmatch(NAME_PATTERN, n) for n in s.image_pull_secrets),
            message=f"imagePullSecrets: one of them {_NO_NAME}",
        ),
        *_names("priorityClassName", "runtimeClassName", "serviceAccount"),
    )

    replicas: Annotated[int, Field(ge=0, le=1000, json_schema_extra={"format": "int32"})] = 1
    """Pods for each serving version; an autoscaler may own it through the scale subresource."""
    resources: Resources = Field(default_factory=Resources, json_schema_extra={"default": {}})
    """Of the server container."""
    image: Annotated[str, StringConstraints(max_length=512)] = ""
    """Server image; empty means the one the operator was installed with when a version starts."""
    image_pull_secrets: Annotated[list[ObjectName], Field(max_length=8)] = Field(
        default_factory=list
    )
    """Names of Secrets of this namespace."""
    env: Annotated[list[EnvVar], Field(max_length=64)] = Field(default_factory=list)
    """Of the server container."""
    pod_labels: StringMap = Field(default_factory=dict, json_schema_extra={"default": {}})
    """More labels for the pods."""
    pod_annotations: StringMap = Field(default_factory=dict)
    """More annotations for the pods."""
    node_selector: StringMap = Field(default_factory=dict)
    """Nodes that may run the pods."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = Field(default_factory=list)
    """Taints that the pods tolerate."""
    priority_class_name: ShortText = ""
    """PriorityClass of the pods."""
    runtime_class_name: ShortText = ""
    """RuntimeClass of the pods."""
    service_account: ShortText = ""
    """ServiceAccount of the pods; its token is never mounted."""
    drain_seconds: Annotated[int, Field(ge=0, le=3600, json_schema_extra={"format": "int32"})] = 12
    """How long a pod goes on answering after it was told to stop."""


class ModelSpec(SpecType):
    """What a person asks for."""

    rules: ClassVar[tuple[Rule, ...]] = (
        matching(
            "modelName",
            MODEL_NAME_PATTERN,
            "modelName may hold no space, slash or colon: it stands in the path "
            "/v1/models/NAME:predict",
        ),
        Rule(
            cel=f"self.labels.all(k, {matches_cel('k', LABEL_PATTERN)})",
            holds=lambda m: all(re.fullmatch(LABEL_PATTERN, k) for k in m.labels),
            message="labels: a version label is 1 to 15 of a-z, 0-9 and -, for example stable",
        ),
        Rule(
            cel=f"self.labels.all(k, !{matches_cel('k', VERSION_LIKE_PATTERN)})",
            holds=lambda m: not any(re.fullmatch(VERSION_LIKE_PATTERN, k) for k in m.labels),
            message="labels: a label may not look like a version (v3); every version has its own "
            "Service NAME-vN already, so choose a word such as canary",
        ),
        Rule(
            cel=f"self.labels.all(k, !(k in {list(RESERVED_LABELS)}))",
            holds=lambda m: not any(k in RESERVED_LABELS for k in m.labels),
            message="labels: pods and next are taken by the Services NAME-pods and NAME-next; "
            "choose another word",
        ),
    )

    model_name: Annotated[str, StringConstraints(max_length=128)] = ""
    """What clients ask for; empty means the resource's name. May hold what that may not."""
    source: Source
    """Where the numbered exports lie."""
    versions: VersionPolicy = Field(
        default_factory=lambda: VersionPolicy(latest=1),
        json_schema_extra={"default": {"latest": 1}},
    )
    """Which versions should serve; the highest one takes requests that name none."""
    labels: Annotated[dict[str, VersionNumber], Field(max_length=16)] = Field(
        default_factory=dict, json_schema_extra={"default": {}}
    )
    """Version labels: each is a Service NAME-LABEL, moved only when all replicas are ready."""
    transition: Transition = Field(default_factory=Transition, json_schema_extra={"default": {}})
    """How versions may replace one another."""
    serving: Serving = Field(
        default_factory=Serving,
        # A whole value, not {}: the scale subresource reads spec.serving.replicas.
        json_schema_extra={"default": {"replicas": 1}},
    )
    """The pods of each version."""
    paused: bool = False
    """True: nothing is changed; what serves goes on."""
