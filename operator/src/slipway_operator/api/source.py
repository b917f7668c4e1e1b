"""`spec.source` of a Model: location of the numbered exports and access to them."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints

from slipway_operator.api.fields import ShortText, SpecType, object_names
from slipway_operator.api.quantities import Duration, within
from slipway_operator.api.rules import Rule, matches_cel, matching
from slipway_sync.store_kinds import AZURE, CLAIM, CLOUDS, KINDS, schemes_pattern, uri_pattern

URI_PATTERN = f"^({uri_pattern(KINDS)})$"
_DOTS_PATTERN = r"^.*/[.][.]?(/.*)?$"
_CLOUD_PATTERN = f"^{schemes_pattern(CLOUDS)}.*$"
ENDPOINT_PATTERN = r"^https?://[^/@?# \t\r\n]+(/[A-Za-z0-9-]+)?/?$"
ENDPOINT_WITH_PATH_PATTERN = r"^https?://[^/]+/[^/]+/?$"
PROXY_PATTERN = r"^http://[^/@?# \t\r\n]+/?$"
_DATA_KEY_PATTERN = r"^[-._A-Za-z0-9]+$"

DataKey = Annotated[str, StringConstraints(min_length=1, max_length=253)]


class KeyReference(SpecType):
    """One entry of a ConfigMap or Secret in the Model's namespace."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.configMap == '') != (self.secret == '')",
            holds=lambda r: bool(r.config_map) != bool(r.secret),
            message="name either a configMap or a secret in this namespace, for example "
            "{configMap: corp-ca, key: ca.crt}",
        ),
        *object_names("configMap", "secret"),
        matching(
            "key",
            _DATA_KEY_PATTERN,
            "key may contain only letters, digits, -, _ and .: it is an entry of the object's data",
        ),
    )

    config_map: ShortText = ""
    """Name of a ConfigMap."""
    secret: ShortText = ""
    """Name of a Secret."""


class CaBundle(KeyReference):
    """CA certificates to trust in addition to the system's."""

    key: DataKey = "ca.crt"
    """Entry that holds the CA certificates in PEM."""


class PublicKey(KeyReference):
    """Public keys that verify signatures of exports."""

    key: DataKey = "publicKey.pem"
    """Entry that holds one or more Ed25519 public keys in PEM."""


class Signature(SpecType):
    """Signature that every export must have."""

    public_key: PublicKey
    """Each export needs a SHA256SUMS that lists all of its files and a SHA256SUMS.sig signed with
    one of these keys; any other export is Rejected."""


class Source(SpecType):
    """Location of the numbered exports and access to them."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=matches_cel("self.uri", URI_PATTERN),
            holds=lambda s: re.fullmatch(URI_PATTERN, s.uri) is not None,
            message="uri must be s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH, "
            "https://HOST/PATH or pvc://CLAIM/PATH, the folder whose children are the numbered "
            "versions, for example s3://models/mnist",
        ),
        Rule(
            cel=f"!{matches_cel('self.uri', _DOTS_PATTERN)}",
            holds=lambda s: re.fullmatch(_DOTS_PATTERN, s.uri) is None,
            message="uri must not contain . or .. segments: write the normalized path",
        ),
        matching(
            "endpoint",
            ENDPOINT_PATTERN,
            "endpoint must be http://HOST[:PORT] or https://HOST[:PORT], without a path "
            "and without credentials",
        ),
        Rule(
            cel=f"self.uri.startsWith('{AZURE.prefix}') || !{matches_cel('self.endpoint', ENDPOINT_WITH_PATH_PATTERN)}",
            holds=lambda s: (
                s.uri.startswith(AZURE.prefix)
                or re.fullmatch(ENDPOINT_WITH_PATH_PATTERN, s.endpoint) is None
            ),
            message="endpoint may have a path only for az://, where it names the account; write "
            "http://HOST[:PORT] or https://HOST[:PORT]",
        ),
        Rule(
            cel=f"self.endpoint == '' || {matches_cel('self.uri', _CLOUD_PATTERN)}",
            holds=lambda s: not s.endpoint or re.fullmatch(_CLOUD_PATTERN, s.uri) is not None,
            message="endpoint is for s3://, gs:// and az:// only: an http(s):// or pvc:// uri is "
            "complete without it",
        ),
        Rule(
            cel=f"self.credentialsSecret == '' || !self.uri.startsWith('{CLAIM.prefix}')",
            holds=lambda s: not s.credentials_secret or not CLAIM.has(s.uri),
            message="credentialsSecret has no effect for a pvc:// source; remove it",
        ),
        Rule(
            cel=f"self.identity == '' || {matches_cel('self.uri', _CLOUD_PATTERN)}",
            holds=lambda s: not s.identity or re.fullmatch(_CLOUD_PATTERN, s.uri) is not None,
            message="identity is for s3://, gs:// and az:// only; use credentialsSecret instead",
        ),
        Rule(
            cel="self.identity == '' || self.credentialsSecret == ''",
            holds=lambda s: not s.identity or not s.credentials_secret,
            message="set either identity or credentialsSecret, not both",
        ),
        Rule(
            # Such a proxy could read the tokens, and those are not the Model's own.
            cel="self.identity == '' || self.proxy == '' || !has(self.caBundle)",
            holds=lambda s: not s.identity or not s.proxy or s.ca_bundle is None,
            message="with identity, set proxy or caBundle, not both: whoever controls the proxy and "
            "its CA could read the identity's tokens; the chart's sources.proxy can be combined "
            "with a caBundle",
        ),
        matching(
            "proxy",
            PROXY_PATTERN,
            "proxy must be http://HOST[:PORT], without credentials: put those into "
            "credentialsSecret as PROXY_USERNAME and PROXY_PASSWORD",
        ),
        *object_names("credentialsSecret"),
        within("pollInterval", "1s", "24h"),
        within("settle", "0s", "24h"),
    )

    uri: Annotated[str, StringConstraints(max_length=1024)]
    """Base path whose children are version directories with integer names: s3://bucket/path,
    gs://bucket/path, az://container/path; https://host/path with an index.json; pvc://claim/path
    for a PersistentVolumeClaim in this namespace, served in place without a copy."""
    endpoint: Annotated[str, StringConstraints(max_length=512)] = ""
    """Endpoint URL of an S3-compatible or other store; empty for AWS, Google Cloud and Azure."""
    region: ShortText = ""
    """Region of the S3 bucket; empty means us-east-1."""
    addressing: Literal["path", "virtual"] = "path"
    """S3 addressing style: bucket in the path or in the host name."""
    credentials_secret: ShortText = ""
    """Secret in this namespace; if empty, requests are anonymous. For s3: AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY and, optionally, AWS_SESSION_TOKEN. For gs: GOOGLE_SERVICE_ACCOUNT_KEY or
    GOOGLE_BEARER_TOKEN. For az: AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, with
    AZURE_STORAGE_SAS_TOKEN, or with AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID. For
    https: HTTP_BEARER_TOKEN, or HTTP_USERNAME and HTTP_PASSWORD."""
    identity: Literal["", "ServiceAccount", "Ambient"] = ""
    """Cloud identity to use instead of a Secret. ServiceAccount: the identity that the annotations
    of serving.serviceAccount name. Ambient: credentials of the environment (environment variables,
    instance metadata), if the installation allows it."""
    ca_bundle: CaBundle | None = None
    """Additional CA certificates to trust, for https with a private CA."""
    proxy: Annotated[str, StringConstraints(max_length=512)] = ""
    """HTTP proxy for requests to the source; empty means the installation's proxy, if any."""
    signature: Signature | None = None
    """Required signature; if absent, exports need none, and a SHA256SUMS is checked where present."""
    poll_interval: Duration = "30s"
    """Polling interval, with jitter of up to 10% so that Models do not poll simultaneously."""
    settle: Duration = "5s"
    """How long an export's file listing must be unchanged before it is validated."""
    completion_marker: ShortText = ""
    """Name of an object in the version directory that marks the export as complete; optional."""
    allow_mutation: bool = False
    """Whether the content of a version number may change. By default versions are immutable: changed
    content is not loaded, and the current version keeps serving."""
