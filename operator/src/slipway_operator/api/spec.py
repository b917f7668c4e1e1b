"""`spec` of a Model: the desired state."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from slipway_operator.api.fields import SpecType, VersionNumber
from slipway_operator.api.names import RESERVED_LABELS
from slipway_operator.api.quantities import (
    Duration,
    IntOrPercent,
    is_positive_count,
    positive_count_cel,
    within,
)
from slipway_operator.api.rollout import Rollout
from slipway_operator.api.rules import Rule, matches_cel, matching
from slipway_operator.api.serving import Serving
from slipway_operator.api.source import Source
from slipway_operator.api.traffic.gateway import Gateway, Traffic
from slipway_sync.store_kinds import CLAIM, DELETABLE, schemes_pattern

LABEL_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$"
VERSION_LIKE_PATTERN = r"^v[0-9]+$"
MODEL_NAME_PATTERN = r"^[^/: \t\r\n]+$"


class VersionPolicy(SpecType):
    """Which versions should serve; exactly one of the three fields."""

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
            message="versions.specific contains duplicates; list each number once",
        ),
    )

    latest: Annotated[int, Field(ge=1, le=100)] | None = None
    """Number of highest complete versions to serve."""
    specific: Annotated[list[VersionNumber], Field(min_length=1, max_length=32)] | None = None
    """Exactly these versions."""
    all: bool | None = None
    """Every complete version."""


class WhenUnschedulable(SpecType):
    """What becomes of a transition whose new pods find no room."""

    rules: ClassVar[tuple[Rule, ...]] = (within("after", "1s", "168h"),)

    after: Duration = "2m"
    """Time without room, pods that shut down aside, before anything is done."""
    then: Literal["Wait", "ResourcePreserving", "Abort"] = "Wait"
    """Wait: the transition waits for room. ResourcePreserving: this one transition continues without
    extra pods, as under that policy. Abort: it is given up, until the export or the pod template changes, or
    the annotation slipway.dev/retry asks for it."""


class Transition(SpecType):
    """How one version replaces another."""

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
    """Keep full capacity by adding extra pods, or never use more pods than replicas."""
    max_surge: IntOrPercent = "25%"
    """AvailabilityPreserving: maximum extra pods, rounded up; 100% switches all traffic at once."""
    max_unavailable: IntOrPercent = 1
    """ResourcePreserving: maximum pods missing at a time, rounded up."""
    when_unschedulable: WhenUnschedulable = Field(
        default_factory=WhenUnschedulable, json_schema_extra={"default": {}}
    )
    """What to do if no node has room for a new pod, or a quota does not allow it."""
    preflight: Literal["Verify", "Load"] = "Verify"
    """What a Job without a GPU does with a new version before the first old pod goes for it, where no
    extra pods are used. Verify: it syncs and verifies the whole export. Load: it also loads it on the
    CPU, and runs its warm-up and its checks. No effect while extra pods are used: there the new pod
    itself shows all that before an old one goes."""
    progress_deadline: Duration = "10m"
    """A new version fails after this time without progress; waiting for hardware and an active
    download do not count."""


def _is_one(versions: VersionPolicy) -> bool:
    """Whether one version is to serve at a time."""
    return versions.latest == 1 or (versions.specific is not None and len(versions.specific) == 1)


class Retention(SpecType):
    """Deletion of old exports from the source."""

    keep: Annotated[int, Field(ge=1, le=1000, json_schema_extra={"format": "int32"})]
    """Number of highest complete versions to keep; older ones are deleted from the source unless they
    serve, have a label or are requested in versions. Each deletion is announced one pass ahead."""
    dry_run: bool = False
    """If true, nothing is deleted; Events say what would be."""


class ModelSpec(SpecType):
    """Desired state."""

    rules: ClassVar[tuple[Rule, ...]] = (
        matching(
            "modelName",
            MODEL_NAME_PATTERN,
            "modelName must not contain spaces, slashes or colons: it is part of the path "
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
            message="labels: a label must not look like a version (v3); every version already has "
            "its own Service NAME-vN, so choose a word such as canary",
        ),
        Rule(
            cel=f"self.labels.all(k, !(k in {list(RESERVED_LABELS)}))",
            holds=lambda m: not any(k in RESERVED_LABELS for k in m.labels),
            message="labels: pods and next are reserved for the Services NAME-pods and NAME-next; "
            "choose another word",
        ),
        Rule(
            cel="self.source.identity != 'ServiceAccount' || self.serving.serviceAccount != ''",
            holds=lambda m: m.source.identity != "ServiceAccount" or m.serving.service_account,
            message="source.identity ServiceAccount needs serving.serviceAccount: name the "
            "ServiceAccount whose cloud identity reads the source",
        ),
        Rule(
            cel=f"!has(self.retention) || self.source.uri.matches('^{schemes_pattern(DELETABLE)}')",
            holds=lambda m: m.retention is None or any(k.has(m.source.uri) for k in DELETABLE),
            message="retention can delete only from s3://, gs:// and az:// sources; remove it, and "
            "delete old exports where they are made",
        ),
        Rule(
            cel=f"!has(self.serving.cache) || !self.source.uri.startsWith('{CLAIM.prefix}')",
            holds=lambda m: m.serving.cache is None or not CLAIM.has(m.source.uri),
            message="serving.cache has no effect for a pvc:// source, which is served in place; "
            "remove it",
        ),
        Rule(
            cel="!has(self.rollout) || (has(self.versions.latest) && self.versions.latest == 1) || "
            "(has(self.versions.specific) && self.versions.specific.size() == 1)",
            holds=lambda m: m.rollout is None or _is_one(m.versions),
            message="rollout shifts traffic from one version to one other: set versions to {latest: 1} or to "
            "one specific number, or remove rollout",
        ),
    )

    model_name: Annotated[str, StringConstraints(max_length=128)] = ""
    """Model name in requests; empty means the resource's name. May contain characters that resource
    names must not."""
    source: Source
    """Location of the numbered exports and access to them."""
    versions: VersionPolicy = Field(
        default_factory=lambda: VersionPolicy(latest=1),
        json_schema_extra={"default": {"latest": 1}},
    )
    """Which versions should serve; the highest one takes requests without a version."""
    labels: Annotated[dict[str, VersionNumber], Field(max_length=16)] = Field(
        default_factory=dict, json_schema_extra={"default": {}}
    )
    """Version labels: each is a Service NAME-LABEL, switched only when all replicas are ready."""
    transition: Transition = Field(default_factory=Transition, json_schema_extra={"default": {}})
    """How one version replaces another."""
    rollout: Rollout | None = None
    """Steps in which a new version takes over the traffic; if absent, it does so as soon as it can."""
    traffic: Traffic | None = None
    """How requests reach the Model from outside of the cluster; if absent, only its Services do."""
    serving: Serving = Field(
        default_factory=Serving,
        # A whole value, not {}: the scale subresource reads spec.serving.replicas.
        json_schema_extra={"default": {"replicas": 1}},
    )
    """The pods of each version."""
    retention: Retention | None = None
    """Deletion of old exports from the source; if absent, all are kept."""
    paused: bool = False
    """If true, the operator changes nothing; current versions keep serving."""

    @property
    def gateway(self) -> Gateway | None:
        """Where routes of the Gateway API are asked for."""
        return self.traffic.gateway if self.traffic else None
