"""What a ServiceAccount is in a cloud, read from its annotations. Pure.

The names are those that the clouds' own webhooks use, so that a ServiceAccount which works for other
workloads works here; `slipway.dev/…` stands for what the clouds write down nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from slipway_sync.store_kinds import Cloud, kind_of
from slipway_sync.stores.identity.endpoints import is_amazon

ROLE_ARN: Final = "eks.amazonaws.com/role-arn"
ROLE_AUDIENCE: Final = "eks.amazonaws.com/audience"
REGIONAL: Final = "eks.amazonaws.com/sts-regional-endpoints"
STS_ENDPOINT: Final = "slipway.dev/sts-endpoint"
GOOGLE_ACCOUNT: Final = "iam.gke.io/gcp-service-account"
GOOGLE_AUDIENCE: Final = "slipway.dev/gcp-audience"
AZURE_CLIENT: Final = "azure.workload.identity/client-id"
AZURE_TENANT: Final = "azure.workload.identity/tenant-id"
AZURE_AUTHORITY: Final = "slipway.dev/azure-authority-host"

_ROLE: Final = re.compile(r"arn:[a-z0-9-]+:iam::[0-9]*:role/[A-Za-z0-9_+=,.@/-]{1,512}", re.ASCII)
_AUDIENCE: Final = re.compile(r"[\x21-\x7e]{1,512}", re.ASCII)
_PROVIDER: Final = re.compile(
    r"//iam\.googleapis\.com/projects/[0-9]+/locations/[a-z0-9-]+/workloadIdentityPools/"
    r"[a-z0-9-]+/providers/[a-z0-9-]+",
    re.ASCII,
)
_POOL: Final = re.compile(
    r"identitynamespace:([a-z0-9:.-]+\.svc\.id\.goog):https://[A-Za-z0-9._/-]+", re.ASCII
)
_CLUSTER: Final = re.compile(
    r"https://container\.googleapis\.com/v1/projects/([a-z0-9:.-]+)/locations/[a-z0-9-]+/clusters/"
    r"[a-z0-9-]+",
    re.ASCII,
)
_EMAIL: Final = re.compile(r"[a-z0-9-]+@[a-z0-9.-]+\.iam\.gserviceaccount\.com", re.ASCII)
_GUID: Final = re.compile(r"[0-9a-fA-F-]{32,36}", re.ASCII)
_TENANT: Final = re.compile(r"[0-9a-zA-Z.-]{1,253}", re.ASCII)


class AnnotationError(Exception):
    """The annotations do not say who the ServiceAccount is; str() is what to write, without a subject."""


@dataclass(frozen=True, slots=True)
class Federation:
    """What a ServiceAccount is in a cloud. Nothing of it is secret.

    Attributes:
        audience: Of the token that the cloud takes.
        settings: Names and values for the exchange, sorted; see `aws`, `google` and `azure`.
    """

    audience: str
    settings: tuple[tuple[str, str], ...]


def federation(
    scheme: str, annotations: Mapping[str, str], *, endpoint: str = "", issuer: str = ""
) -> Federation:
    """Return what a ServiceAccount is in the cloud of a source.

    Args:
        scheme: `s3`, `gs` or `az`.
        annotations: The ServiceAccount's; others than those named above are left alone.
        endpoint: Of the source, which the Model chooses; "" for the cloud's own.
        issuer: Of the cluster's tokens, where known: GKE's names its own pool.

    Raises:
        AnnotationError: One is missing or cannot be.
    """
    match _cloud(scheme):
        case Cloud.AMAZON:
            return _aws(annotations, endpoint)
        case Cloud.GOOGLE:
            return _google(annotations, issuer)
        case _:
            return _azure(annotations)


def audience_to_ask(scheme: str, annotations: Mapping[str, str]) -> bool:
    """Whether only the issuer of the cluster's tokens can tell the audience."""
    return _cloud(scheme) is Cloud.GOOGLE and not annotations.get(GOOGLE_AUDIENCE)


def _cloud(scheme: str) -> Cloud | None:
    kind = kind_of(scheme)
    return None if kind is None else kind.cloud


def _aws(annotations: Mapping[str, str], endpoint: str) -> Federation:
    role = _required(annotations, ROLE_ARN, _ROLE, "the ARN of the role to assume")
    audience = _optional(annotations, ROLE_AUDIENCE, _AUDIENCE, "an audience")
    settings = {"role-arn": role}
    if annotations.get(REGIONAL, "").strip().lower() == "false":
        settings["sts-regional-endpoints"] = "false"
    if sts := annotations.get(STS_ENDPOINT, "").strip():
        settings["sts-endpoint"] = _url(STS_ENDPOINT, sts)
    elif not is_amazon(endpoint):
        # The Model says where the token goes: then it is good for that place and no other.
        audience = settings["sts-endpoint"] = endpoint.rstrip("/")
    return _made(audience or "sts.amazonaws.com", settings)


def _google(annotations: Mapping[str, str], issuer: str) -> Federation:
    given = annotations.get(GOOGLE_AUDIENCE, "").strip().removeprefix("https:")
    if not given and (cluster := _CLUSTER.fullmatch(issuer)):
        given = f"identitynamespace:{cluster[1]}.svc.id.goog:{issuer}"
    if not given:
        raise AnnotationError(
            f"has no annotation {GOOGLE_AUDIENCE} and the cluster is none of GKE's: set it to "
            "//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/"
            "providers/PROVIDER"
        )
    if pool := _POOL.fullmatch(given):
        audience = pool[1]
    elif _PROVIDER.fullmatch(given):
        audience = f"https:{given}"
    else:
        raise AnnotationError(
            f"has an annotation {GOOGLE_AUDIENCE} that is neither //iam.googleapis.com/projects/"
            "NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER nor GKE's "
            "identitynamespace:PROJECT.svc.id.goog:ISSUER"
        )
    settings = {"audience": given}
    if account := _optional(annotations, GOOGLE_ACCOUNT, _EMAIL, "a service account's address"):
        settings["service-account"] = account
    return _made(audience, settings)


def _azure(annotations: Mapping[str, str]) -> Federation:
    settings = {
        "client-id": _required(annotations, AZURE_CLIENT, _GUID, "the application's client id"),
        "tenant-id": _required(annotations, AZURE_TENANT, _TENANT, "the id of its tenant"),
    }
    if authority := annotations.get(AZURE_AUTHORITY, "").strip():
        settings["authority-host"] = _url(AZURE_AUTHORITY, authority)
    return _made("api://AzureADTokenExchange", settings)


def _made(audience: str, settings: Mapping[str, str]) -> Federation:
    return Federation(audience, tuple(sorted(settings.items())))


def _required(
    annotations: Mapping[str, str], name: str, pattern: re.Pattern[str], what: str
) -> str:
    value = _optional(annotations, name, pattern, what)
    if not value:
        raise AnnotationError(f"has no annotation {name}: set it to {what}")
    return value


def _optional(
    annotations: Mapping[str, str], name: str, pattern: re.Pattern[str], what: str
) -> str:
    value = annotations.get(name, "").strip()
    if value and not pattern.fullmatch(value):
        raise AnnotationError(f"has an annotation {name} that is not {what}")
    return value


def _url(name: str, value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or "@" in value or "?" in value or "#" in value or not _AUDIENCE.fullmatch(value):
        raise AnnotationError(f"has an annotation {name} that is no http(s)://HOST[:PORT] URL")
    return value.rstrip("/")
