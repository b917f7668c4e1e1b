"""Google Cloud: bearer tokens from workload identity federation, or from the metadata server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.identity.token_http import Answer, TokenClient, moment, refused

_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
"""Retention deletes; what else the account may do is its roles to say."""
_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True)
class Pool:
    """A workload identity pool that knows the cluster's tokens.

    Attributes:
        audience: The pool's provider.
        account: Service account to impersonate, or "" to read as the federated identity itself.
        sts: URL of the token service.
        iam: URL of the service that impersonates.
    """

    audience: str
    account: str = ""
    sts: str = "https://sts.googleapis.com"
    iam: str = "https://iamcredentials.googleapis.com"

    async def enter(self, asker: TokenClient, token: str) -> TemporaryCredentials:
        """Exchange a token for a bearer token.

        Raises:
            SourceError: Google grants none.
        """
        what = "the workload identity pool"
        answer = await asker.ask(
            what,
            "POST",
            f"{self.sts}/v1/token",
            document={
                "audience": self.audience,
                "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
                "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
                "scope": _PLATFORM if self.account else _SCOPE,
                "subjectToken": token,
                "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
            },
        )
        advice = "check that its provider knows this cluster's issuer and the audience"
        federated = of_bearer(what, answer, advice, asker.clock())
        if not self.account:
            return federated
        return await self._impersonate(asker, federated)

    async def _impersonate(
        self, asker: TokenClient, federated: TemporaryCredentials
    ) -> TemporaryCredentials:
        what = f"the service account {self.account}"
        answer = await asker.ask(
            what,
            "POST",
            f"{self.iam}/v1/projects/-/serviceAccounts/{self.account}:generateAccessToken",
            headers={"Authorization": f"Bearer {federated.values['GOOGLE_BEARER_TOKEN']}"},
            document={"scope": [_SCOPE]},
        )
        found = answer.fields()
        token = found.get("accessToken")
        if answer.status != 200 or not isinstance(token, str) or not token:  # noqa: PLR2004 - HTTP
            raise refused(
                what, answer, "grant the ServiceAccount roles/iam.workloadIdentityUser on it"
            )
        return TemporaryCredentials({"GOOGLE_BEARER_TOKEN": token}, moment(found.get("expireTime")))


def pool(settings: Mapping[str, str]) -> Pool:
    """Return the pool that a federation's settings speak of."""
    return Pool(settings["audience"], settings.get("service-account", ""))


async def of_metadata(asker: TokenClient, host: str) -> TemporaryCredentials:
    """Return the token of the pod's, or the node's, service account.

    Raises:
        SourceError: It has none.
    """
    what = "the metadata server's token"
    answer = await asker.ask(
        what,
        "GET",
        f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token",
        headers={"Metadata-Flavor": "Google"},
    )
    advice = "give the node, or the pod's ServiceAccount, a service account"
    return of_bearer(what, answer, advice, asker.clock())


def of_bearer(
    what: str, answer: Answer, advice: str, now: datetime, name: str = "GOOGLE_BEARER_TOKEN"
) -> TemporaryCredentials:
    """Return the bearer token of an OAuth answer.

    Raises:
        SourceError: There is none in it.
    """
    found = answer.fields()
    token = found.get("access_token")
    if answer.status != 200 or not isinstance(token, str) or not token:  # noqa: PLR2004 - HTTP
        raise refused(what, answer, advice)
    return TemporaryCredentials({name: token}, _in_seconds(now, found.get("expires_in")))


def _in_seconds(now: datetime, text: Any) -> datetime | None:
    try:
        return now + timedelta(seconds=max(0, min(int(text), 86_400)))
    except (TypeError, ValueError, OverflowError):
        return None
