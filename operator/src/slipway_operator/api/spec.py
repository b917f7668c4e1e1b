"""`spec` of a Model: what a person asks for."""

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
from slipway_operator.api.rules import Rule, matches_cel, matching
from slipway_operator.api.serving import Serving
from slipway_operator.api.source import Source
from slipway_sync.store_kinds import CLAIM, DELETABLE, schemes_pattern

LABEL_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$"
VERSION_LIKE_PATTERN = r"^v[0-9]+$"
MODEL_NAME_PATTERN = r"^[^/: \t\r\n]+$"


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


class Retention(SpecType):
    """Which older exports are deleted from the source."""

    keep: Annotated[int, Field(ge=1, le=1000, json_schema_extra={"format": "int32"})]
    """So many of the highest complete versions stay; older ones are deleted from the source, but
    for those that serve, are labelled or are asked for. The first pass only says what it would do."""
    dry_run: bool = False
    """True: nothing is ever deleted, Events say what would be."""


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
            message="serving.cache is of no use for a pvc:// source, which is served where it "
            "lies; remove it",
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
    retention: Retention | None = None
    """Deletes older exports from the source; absent keeps all."""
    paused: bool = False
    """True: nothing is changed; what serves goes on."""
