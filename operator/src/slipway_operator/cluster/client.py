"""A thin client for the handful of resources that the operator touches: manifests in and out."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client as kube
from kubernetes.aio.client.exceptions import ApiException

from slipway_operator.api import names

REQUEST_TIMEOUT_SECONDS: Final = 4.0
"""Below the Lease's duration less its renew deadline: a request of a former leader dies before the
next one starts to write."""

_LOG_LIMIT: Final = 64 << 10
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_FORBIDDEN: Final = 403


class ClusterError(Exception):
    """A request to the API server failed.

    Attributes:
        status: HTTP status; 0 when no answer came.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(ClusterError):
    """The object does not exist."""


class ConflictError(ClusterError):
    """It exists already, or has changed since it was read."""


class ForbiddenError(ClusterError):
    """RBAC says no."""


class NotLeadingError(ClusterError):
    """A write was refused here, before it was sent: this process may not lead any more."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives."""

    api: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection, an object or its subresource."""
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        parts = [root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        # A name with a slash in it must not lead anywhere else.
        parts += [quote(part, safe="") for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


MODELS: Final = Resource(names.API_VERSION, names.PLURAL)
PODS: Final = Resource("v1", "pods")
SERVICES: Final = Resource("v1", "services")
CONFIG_MAPS: Final = Resource("v1", "configmaps")
CLAIMS: Final = Resource("v1", "persistentvolumeclaims")
SECRETS: Final = Resource("v1", "secrets")
SERVICE_ACCOUNTS: Final = Resource("v1", "serviceaccounts")
DEPLOYMENTS: Final = Resource("apps/v1", "deployments")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io/v1", "endpointslices")
BUDGETS: Final = Resource("policy/v1", "poddisruptionbudgets")
JOBS: Final = Resource("batch/v1", "jobs")
EVENTS: Final = Resource("events.k8s.io/v1", "events")
LEASES: Final = Resource("coordination.k8s.io/v1", "leases")

ROUTES: Final[Mapping[str, Resource]] = {
    kind: Resource(f"{names.GATEWAY_GROUP}/{names.GATEWAY_VERSION}", f"{kind.lower()}s")
    for kind in names.ROUTE_KINDS
}
"""Kinds that an API server may not know."""

CHILDREN: Final[Mapping[str, Resource]] = {
    "ConfigMap": CONFIG_MAPS,
    "Deployment": DEPLOYMENTS,
    "Job": JOBS,
    "PodDisruptionBudget": BUDGETS,
    "Service": SERVICES,
    **ROUTES,
}
"""Where the kinds live that `Apply` and `Delete` write."""


def _error(error: ApiException) -> ClusterError:
    try:
        message = str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        message = str(error.reason)
    kinds = {_NOT_FOUND: NotFoundError, _CONFLICT: ConflictError, _FORBIDDEN: ForbiddenError}
    return kinds.get(error.status, ClusterError)(message, error.status or 0)


class Client:
    """Requests to the API server."""

    def __init__(
        self,
        api: kube.ApiClient,
        writing: kube.ApiClient | None = None,
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        """Send requests through clients of the Kubernetes library.

        Args:
            api: Connections and credentials.
            writing: Likewise, for every request that is not a GET; `api` where there is none.
            fence: Asked before and after such a request; raises NotLeadingError when this process may
                not write.
        """
        self._api = api
        self._writing = writing or api
        self._fence = fence

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """One request.

        Raises:
            NotLeadingError: It would write, and this process may not.
            ClusterError: It failed; the subclass says how.
        """
        raw = await self._raw(method, path, query=query, body=body, content_type=content_type)
        parsed: dict[str, Any] = json.loads(raw) if raw else {}
        return parsed

    async def _raw(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
    ) -> bytes:
        writes = method != "GET"
        if writes:
            self._fence()
        try:
            response = await (self._writing if writes else self._api).call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
            )
            async with response:
                data: bytes = await response.read()
                if not response.ok:
                    failure = ApiException(status=response.status, reason=response.reason)
                    failure.body = data.decode(errors="replace")
                    raise _error(failure)
        except (aiohttp.ClientError, TimeoutError) as error:
            if writes:
                self._fence()
            raise ClusterError(f"the API server does not answer: {error!r}") from error
        return data

    async def knows(self, resource: Resource) -> bool:
        """Whether the API server serves a kind."""
        try:
            found = await self.request("GET", f"/apis/{resource.api}")
        except NotFoundError:
            return False
        return any(item["name"] == resource.plural for item in found["resources"])

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        without: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Every object with these labels, and with none of the others, in pages."""
        query = {"limit": "500"}
        selector = [f"{key}={value}" for key, value in (labels or {}).items()]
        selector += [f"{key}!={value}" for key, value in (without or {}).items()]
        if selector:
            query["labelSelector"] = ",".join(selector)
        items: list[dict[str, Any]] = []
        while True:
            page = await self.request("GET", resource.path(namespace), query=query)
            items += page.get("items") or []
            token = page.get("metadata", {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """One object.

        Raises:
            NotFoundError: There is none.
        """
        return await self.request("GET", resource.path(namespace, name))

    async def create(
        self, resource: Resource, namespace: str, manifest: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Create; never writes over.

        Raises:
            ConflictError: One of that name exists.
        """
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self.request("POST", resource.path(namespace), query=query, body=manifest)

    async def apply(
        self, resource: Resource, namespace: str, manifest: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Server-side apply; a `metadata.uid` in the manifest must match."""
        name = manifest["metadata"]["name"]
        return await self.request(
            "PATCH",
            resource.path(namespace, name),
            query={"fieldManager": names.FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type="application/apply-patch+yaml",
        )

    async def merge(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        subresource: str = "",
    ) -> dict[str, Any]:
        """JSON merge patch; a `metadata.uid` in the patch must match."""
        return await self.request(
            "PATCH",
            resource.path(namespace, name, subresource),
            query={"fieldManager": names.FIELD_MANAGER},
            body=patch,
            content_type="application/merge-patch+json",
        )

    async def replace(
        self, resource: Resource, namespace: str, manifest: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Replace; fails when it has changed since it was read."""
        path = resource.path(namespace, manifest["metadata"]["name"])
        return await self.request("PUT", path, body=manifest)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete this very object; its dependents follow in the background."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        await self.request("DELETE", resource.path(namespace, name), body=body)

    async def log_tail(
        self, namespace: str, pod: str, container: str, lines: int, limit: int = _LOG_LIMIT
    ) -> str:
        """The last lines of a container's log, `limit` bytes of them at most."""
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(limit)}
        path = PODS.path(namespace, pod, "log")
        raw = await self._raw("GET", path, query=query, body=None, content_type="application/json")
        return raw.decode(errors="replace")
