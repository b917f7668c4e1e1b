"""What the API server knows when the operator starts, and lets it look at."""

from collections.abc import Sequence

import structlog

from slipway_operator.api.names import GROUP
from slipway_operator.app.exits import ExitCode, StartError, no_answer
from slipway_operator.cluster.client import (
    MODELS,
    ROUTES,
    Client,
    ClusterError,
    ForbiddenError,
    NotFoundError,
    Resource,
)

_log = structlog.get_logger()


async def find_models(client: Client, host: str) -> None:
    """Make sure that the API server answers and knows Models.

    Raises:
        StartError: It does not.
    """
    try:
        known = await client.knows(MODELS)
    except ClusterError as error:
        raise _no_answer(host, error) from error
    if not known:
        raise StartError(
            f"the API server {host} does not know {MODELS.plural}.{GROUP}: install the "
            "CustomResourceDefinition (helm does, unless crds.install is false)",
            ExitCode.UNUSABLE,
        )


async def find_routes(client: Client, host: str, namespaces: Sequence[str]) -> list[Resource]:
    """The kinds of routes that can be watched in these namespaces; in all when there are none.

    A watch that is refused ends the process, also where no Model asks for a route.

    Raises:
        StartError: The API server does not answer.
    """
    found = []
    for resource in ROUTES.values():
        try:
            if await _is_listed(client, resource, namespaces):
                found.append(resource)
        except ForbiddenError as error:
            _log.warning(
                "routes are not watched",
                kind=resource.plural,
                error=str(error),
                message="The operator's role does not allow it: update it with the chart and start the operator "
                "again, if Models have traffic.gateway",
            )
        except ClusterError as error:
            raise _no_answer(host, error) from error
    return found


async def _is_listed(client: Client, resource: Resource, namespaces: Sequence[str]) -> bool:
    if not await client.knows(resource):
        return False
    try:
        for namespace in namespaces or ("",):
            await client.request("GET", resource.path(namespace), query={"limit": "1"})
    except NotFoundError:
        return False  # Its definition has just gone.
    return True


def _no_answer(host: str, error: ClusterError) -> StartError:
    cause = error.__cause__
    why = str(cause) or type(cause).__name__ if error.status == 0 and cause else str(error)
    return no_answer(host, error.status, why)
