"""AWS: temporary keys from STS, from a container's endpoint, or from the instance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from slipway_sync.stores.base import SourceError, StoreOptions
from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.egress.clients import endpoint_url
from slipway_sync.stores.identity.token_http import Answer, TokenClient, moment, refused

_SESSION: Final = "slipway"
_FIELDS: Final = {
    "AWS_ACCESS_KEY_ID": "AccessKeyId",
    "AWS_SECRET_ACCESS_KEY": "SecretAccessKey",
    "AWS_SESSION_TOKEN": "SessionToken",
}
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)
_IMDS_SECONDS: Final = "21600"


@dataclass(frozen=True, slots=True)
class Role:
    """A role that a token's bearer takes on.

    Attributes:
        arn: The role's Amazon Resource Name.
        sts: URL of the token service.
    """

    arn: str
    sts: str

    @property
    def what(self) -> str:
        """Subject of sentences."""
        return f"the role {self.arn}"

    async def take_on(self, asker: TokenClient, token: str) -> TemporaryCredentials:
        """Exchange a token for keys (AssumeRoleWithWebIdentity).

        Raises:
            SourceError: The token service grants none.
        """
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self.arn,
            "RoleSessionName": _SESSION,
            "WebIdentityToken": token,
        }
        answer = await asker.ask(self.what, "POST", f"{self.sts}/", form=form)
        text = answer.text()
        values = {name: _element(text, field) for name, field in _FIELDS.items()}
        if answer.status != 200 or not all(values.values()):  # noqa: PLR2004 - HTTP
            raise refused(
                f"{self.what} at {urlsplit(self.sts).hostname}",
                answer,
                "check that its trust policy names this cluster's issuer, the ServiceAccount and "
                "the audience",
            )
        return TemporaryCredentials(values, moment(_element(text, "Expiration")))


def role(settings: Mapping[str, str], options: StoreOptions) -> Role:
    """Return the role that a federation's settings speak of.

    Raises:
        SourceError: The token service or the region cannot be.
    """
    if endpoint := settings.get("sts-endpoint", ""):
        return Role(settings["role-arn"], endpoint_url(endpoint))
    regional = settings.get("sts-regional-endpoints") != "false"
    return Role(settings["role-arn"], sts_url(options.region or "us-east-1", regional=regional))


def sts_url(region: str, *, regional: bool = True) -> str:
    """Return AWS's own token service for a region.

    >>> sts_url("cn-north-1")
    'https://sts.cn-north-1.amazonaws.com.cn'

    Raises:
        SourceError: The region is none.
    """
    if not _REGION.fullmatch(region):
        raise SourceError("InvalidSource", "the region may contain only a-z, 0-9 and -")
    if region.startswith("cn-"):
        return f"https://sts.{region}.amazonaws.com.cn"
    return f"https://sts.{region}.amazonaws.com" if regional else "https://sts.amazonaws.com"


async def of_container(asker: TokenClient, url: str, authorization: str) -> TemporaryCredentials:
    """Return what a container's own endpoint gives (ECS, EKS Pod Identity).

    Raises:
        SourceError: It gives nothing.
    """
    what = "the container's credentials"
    headers = {"Authorization": authorization} if authorization else {}
    answer = await asker.ask(what, "GET", url, headers=headers)
    return _of_document(what, answer)


async def of_instance(asker: TokenClient, endpoint: str) -> TemporaryCredentials:
    """Return the keys of the instance's role, by version 2 of its metadata service.

    Raises:
        SourceError: It has none.
    """
    what = "the instance's role"
    asked = {"X-aws-ec2-metadata-token-ttl-seconds": _IMDS_SECONDS}
    session = await asker.ask(what, "PUT", f"{endpoint}/latest/api/token", headers=asked)
    if session.status != 200:  # noqa: PLR2004 - HTTP
        raise refused(what, session, "check the metadata options and the hop limit of the node")
    shown = {"X-aws-ec2-metadata-token": session.text().strip()}
    path = f"{endpoint}/latest/meta-data/iam/security-credentials/"
    names = await asker.ask(what, "GET", path, headers=shown)
    name = names.text().partition("\n")[0].strip()
    if names.status != 200 or not re.fullmatch(r"[\w+=,.@-]{1,128}", name, re.ASCII):  # noqa: PLR2004
        raise refused(what, names, "give the node an instance profile")
    return _of_document(what, await asker.ask(what, "GET", f"{path}{name}", headers=shown))


def _of_document(what: str, answer: Answer) -> TemporaryCredentials:
    found = answer.fields()
    values = {
        "AWS_ACCESS_KEY_ID": found.get("AccessKeyId"),
        "AWS_SECRET_ACCESS_KEY": found.get("SecretAccessKey"),
        "AWS_SESSION_TOKEN": found.get("Token"),
    }
    if answer.status != 200 or not all(isinstance(v, str) and v for v in values.values()):  # noqa: PLR2004
        raise refused(what, answer, "check the role that is bound to it")
    return TemporaryCredentials(
        {name: str(value) for name, value in values.items()}, moment(found.get("Expiration"))
    )


def _element(text: str, name: str) -> str:
    """Return an element of plain text; keys, tokens and times hold nothing that XML escapes."""
    found = re.search(rf"<{name}>\s*([A-Za-z0-9+/=._:-]+)\s*</{name}>", text)
    return found[1] if found else ""
