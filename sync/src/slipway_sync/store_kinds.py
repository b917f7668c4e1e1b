"""The kinds of sources, one entry each: what a URI of the kind looks like, what it takes, and who opens it.

A new kind of store is an entry here and a backend that opens it. The rules of the Model's API are made from these
entries. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Cloud(StrEnum):
    """A cloud whose identities a source can be read with."""

    AMAZON = "Amazon Web Services"
    GOOGLE = "Google Cloud"
    MICROSOFT = "Microsoft Azure"


@dataclass(frozen=True, slots=True)
class StoreKind:
    """What is known of one kind of source.

    Attributes:
        scheme: Of its URIs, without `://`; a regular expression where there are several.
        schemes: All of them, spelled out.
        example: How a URI of it is written.
        path: What comes after `://`, as a regular expression for Python and for RE2.
        opener: `module:function`, from a URI and StoreOptions to a Store; "" for what only pods can open, in a mount.
        credentials: Names that a Secret for it may hold.
        auth_methods: Which of them suffice together, each by itself.
        cloud: Whose identities it takes, if any.
        service: What the cloud calls it.
        bearer_hosts: How its own hosts end, where requests carry a bearer token: no other host may see that.
        endpoint: Whether it can lie at another endpoint than the cloud's own.
        endpoint_path: Whether that may have a path.
        deletes: Whether exports can be deleted from it.
    """

    scheme: str
    schemes: tuple[str, ...]
    example: str
    path: str
    opener: str = ""
    credentials: tuple[str, ...] = ()
    auth_methods: tuple[tuple[str, ...], ...] = ()
    cloud: Cloud | None = None
    service: str = ""
    bearer_hosts: tuple[str, ...] = ()
    endpoint: bool = False
    endpoint_path: bool = False
    deletes: bool = False

    @property
    def prefix(self) -> str:
        """`SCHEME://`."""
        return f"{self.scheme}://"

    def has(self, uri: str) -> bool:
        """Whether a URI is of this kind."""
        scheme, separator, _ = uri.partition("://")
        return bool(separator) and scheme in self.schemes


_BUCKET: Final = r"[A-Za-z0-9$][A-Za-z0-9._-]{1,221}(/[^/\t\r\n]+)*/?"

S3: Final = StoreKind(
    scheme="s3",
    schemes=("s3",),
    example="s3://BUCKET/PATH",
    path=_BUCKET,
    opener="slipway_sync.stores.backends.s3:open_s3",
    credentials=(
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ),
    auth_methods=(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),),
    cloud=Cloud.AMAZON,
    service="Amazon S3",
    endpoint=True,
    deletes=True,
)
GCS: Final = StoreKind(
    scheme="gs",
    schemes=("gs",),
    example="gs://BUCKET/PATH",
    path=_BUCKET,
    opener="slipway_sync.stores.backends.gcs:open_gcs",
    # A service account's key file, or a token that is renewed in the Secret.
    credentials=("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN"),
    auth_methods=(("GOOGLE_SERVICE_ACCOUNT_KEY",), ("GOOGLE_BEARER_TOKEN",)),
    cloud=Cloud.GOOGLE,
    service="Google Cloud Storage",
    bearer_hosts=(".googleapis.com",),
    endpoint=True,
    deletes=True,
)
AZURE: Final = StoreKind(
    scheme="az",
    schemes=("az",),
    example="az://CONTAINER/PATH",
    path=_BUCKET,
    opener="slipway_sync.stores.backends.azure:open_azure",
    # The account, and a key, a token or an application's three.
    credentials=(
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
    ),
    auth_methods=(
        ("AZURE_STORAGE_ACCOUNT_KEY",),
        ("AZURE_STORAGE_SAS_TOKEN",),
        ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"),
    ),
    cloud=Cloud.MICROSOFT,
    service="Azure Blob Storage",
    bearer_hosts=(
        ".core.windows.net",
        ".core.usgovcloudapi.net",
        ".core.chinacloudapi.cn",
        ".storage.azure.net",
    ),
    endpoint=True,
    endpoint_path=True,
    deletes=True,
)
WEB: Final = StoreKind(
    scheme="https?",
    schemes=("http", "https"),
    example="http(s)://HOST/PATH",
    path=r"[^/@?# \t\r\n]+(/[^/?#\t\r\n]+)*/?",
    opener="slipway_sync.stores.backends.http:open_http",
    credentials=("HTTP_BEARER_TOKEN", "HTTP_USERNAME", "HTTP_PASSWORD"),
    auth_methods=(("HTTP_BEARER_TOKEN",), ("HTTP_USERNAME", "HTTP_PASSWORD")),
)
CLAIM: Final = StoreKind(
    scheme="pvc",
    schemes=("pvc",),
    example="pvc://CLAIM/PATH",
    path=r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?(/[^/\t\r\n]+)*/?",
)

KINDS: Final = (S3, GCS, AZURE, WEB, CLAIM)
CLOUDS: Final = tuple(kind for kind in KINDS if kind.cloud is not None)
DELETABLE: Final = tuple(kind for kind in KINDS if kind.deletes)
_BY_SCHEME: Final = {scheme: kind for kind in KINDS for scheme in kind.schemes}


def kind_of(uri: str) -> StoreKind | None:
    """Return the kind of a URI, or of a scheme alone; None when nobody knows it."""
    return _BY_SCHEME.get(uri.partition("://")[0])


def schemes_pattern(kinds: tuple[StoreKind, ...]) -> str:
    """Return a regular expression for the beginning of any URI of these kinds.

    >>> schemes_pattern((S3, GCS))
    '(s3|gs)://'
    """
    return f"({'|'.join(kind.scheme for kind in kinds)})://"


def uri_pattern(kinds: tuple[StoreKind, ...]) -> str:
    """Return a regular expression for any URI of these kinds, without anchors; kinds of one path stand together."""
    together: dict[str, list[StoreKind]] = {}
    for kind in kinds:
        together.setdefault(kind.path, []).append(kind)
    return "|".join(
        (schemes_pattern(tuple(alike)) if len(alike) > 1 else alike[0].prefix) + path
        for path, alike in together.items()
    )
