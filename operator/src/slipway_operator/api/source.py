"""`spec.source` of a Model: where the numbered exports lie and how they are reached."""

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
    """One entry of a ConfigMap or a Secret of the Model's namespace."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.configMap == '') != (self.secret == '')",
            holds=lambda r: bool(r.config_map) != bool(r.secret),
            message="name either a configMap or a secret of this namespace, for example "
            "{configMap: corp-ca, key: ca.crt}",
        ),
        *object_names("configMap", "secret"),
        matching(
            "key",
            _DATA_KEY_PATTERN,
            "key may hold only letters, digits, -, _ and .: it is an entry of the object's data",
        ),
    )

    config_map: ShortText = ""
    """Name of a ConfigMap."""
    secret: ShortText = ""
    """Name of a Secret."""


class CaBundle(KeyReference):
    """Certificates to trust beside the system's."""

    key: DataKey = "ca.crt"
    """Entry that holds PEM certificates."""


class PublicKey(KeyReference):
    """Keys that exports may be signed with."""

    key: DataKey = "publicKey.pem"
    """Entry that holds one or several Ed25519 public keys in PEM."""


class Signature(SpecType):
    """Whose signature an export needs."""

    public_key: PublicKey
    """Each export needs a SHA256SUMS that names all of its files and a SHA256SUMS.sig by one of
    these keys; any other is Rejected."""


class Source(SpecType):
    """Where the numbered exports lie."""

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
            message="uri may not hold the steps . and ..: write the folder's own path",
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
            message="endpoint is for s3://, gs:// and az:// only: an http(s):// or pvc:// uri names "
            "its place itself",
        ),
        Rule(
            cel=f"self.credentialsSecret == '' || !self.uri.startsWith('{CLAIM.prefix}')",
            holds=lambda s: not s.credentials_secret or not CLAIM.has(s.uri),
            message="credentialsSecret is of no use for a pvc:// source; remove it",
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
            message="with an identity set proxy or caBundle, not both: whoever names the proxy and "
            "its authority could read the identity's tokens; the chart's sources.proxy goes with "
            "a caBundle",
        ),
        matching(
            "proxy",
            PROXY_PATTERN,
            "proxy must be http://HOST[:PORT], without credentials: those go into "
            "credentialsSecret as PROXY_USERNAME and PROXY_PASSWORD",
        ),
        *object_names("credentialsSecret"),
        within("pollInterval", "1s", "24h"),
        within("settle", "0s", "24h"),
    )

    uri: Annotated[str, StringConstraints(max_length=1024)]
    """Its children are version directories, named by whole numbers: s3://bucket/path,
    gs://bucket/path, az://container/path; https://host/path with an index.json; pvc://claim/path
    of a PersistentVolumeClaim of this namespace, which is served where it lies."""
    endpoint: Annotated[str, StringConstraints(max_length=512)] = ""
    """Of an S3-compatible store, or another cloud's; empty for AWS, Google Cloud and Azure."""
    region: ShortText = ""
    """Of an S3 bucket; empty means us-east-1."""
    addressing: Literal["path", "virtual"] = "path"
    """Whether an S3 bucket stands in the path or in the host name."""
    credentials_secret: ShortText = ""
    """Secret of this namespace; empty reads without signing. For s3: AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY and, optionally, AWS_SESSION_TOKEN. For gs: GOOGLE_SERVICE_ACCOUNT_KEY or
    GOOGLE_BEARER_TOKEN. For az: AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, with
    AZURE_STORAGE_SAS_TOKEN, or with AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID. For
    https: HTTP_BEARER_TOKEN, or HTTP_USERNAME and HTTP_PASSWORD."""
    identity: Literal["", "ServiceAccount", "Ambient"] = ""
    """Instead of a Secret. ServiceAccount: the cloud identity of serving.serviceAccount, by its
    annotations. Ambient: what the pods' surroundings give, where the installation allows it."""
    ca_bundle: CaBundle | None = None
    """Certificates to trust beside the system's, for https with a private authority."""
    proxy: Annotated[str, StringConstraints(max_length=512)] = ""
    """HTTP proxy on the way to the source; empty means the installation's, if it has one."""
    signature: Signature | None = None
    """Absent: exports need no signature; a SHA256SUMS is honoured where there is one."""
    poll_interval: Duration = "30s"
    """How often the store is listed; varied by up to a tenth, so that Models do not poll at once."""
    settle: Duration = "5s"
    """How long an export's listing must stand still before it is looked at."""
    completion_marker: ShortText = ""
    """Name of an object in the version directory that says the export is complete; optional."""
    allow_mutation: bool = False
    """Whether a version number may change its content; otherwise what serves goes on serving."""
