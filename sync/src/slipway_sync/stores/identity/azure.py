"""Azure: bearer tokens from a federated credential, or from a managed identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.egress.clients import endpoint_url
from slipway_sync.stores.identity.google import of_bearer
from slipway_sync.stores.identity.token_http import TokenClient

AUTHORITY: Final = "https://login.microsoftonline.com"
_RESOURCE: Final = "https://storage.azure.com/"
_NAME: Final = "AZURE_BEARER_TOKEN"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Application:
    """An application, or a managed identity, that trusts the cluster's tokens.

    Attributes:
        authority: URL of the login service; sovereign clouds have their own.
    """

    client: str
    tenant: str
    authority: str = AUTHORITY

    async def log_in(self, asker: TokenClient, token: str) -> TemporaryCredentials:
        """Exchange a token for a bearer token.

        Raises:
            SourceError: Azure grants none.
        """
        what = f"the application {self.client}"
        answer = await asker.ask(
            what,
            "POST",
            f"{self.authority}/{quote(self.tenant, safe='')}/oauth2/v2.0/token",
            form={
                "client_id": self.client,
                "client_assertion": token,
                "client_assertion_type": _ASSERTION,
                "grant_type": "client_credentials",
                "scope": f"{_RESOURCE}.default",
            },
        )
        advice = (
            "check that it has a federated credential for this cluster's issuer and the "
            "ServiceAccount"
        )
        where = f"{what} at {urlsplit(self.authority).hostname}"
        return of_bearer(where, answer, advice, asker.clock(), _NAME)


def application(settings: Mapping[str, str]) -> Application:
    """Return the application that a federation's settings speak of.

    Raises:
        SourceError: The authority is no URL.
    """
    authority = endpoint_url(settings.get("authority-host", "") or AUTHORITY)
    return Application(settings["client-id"], settings["tenant-id"], authority)


async def of_machine(asker: TokenClient, endpoint: str, client: str) -> TemporaryCredentials:
    """Return the token of the node's managed identity.

    Args:
        asker: Reaches the metadata service.
        endpoint: URL of the metadata service.
        client: Which of several identities, or "".

    Raises:
        SourceError: It has none.
    """
    what = "the machine's managed identity"
    query = {"api-version": "2018-02-01", "resource": _RESOURCE}
    if client:
        query["client_id"] = client
    answer = await asker.ask(
        what,
        "GET",
        f"{endpoint}/metadata/identity/oauth2/token?{urlencode(query)}",
        headers={"Metadata": "true"},
    )
    advice = "assign an identity to the node pool"
    return of_bearer(what, answer, advice, asker.clock(), _NAME)
