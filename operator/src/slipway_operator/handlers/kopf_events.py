"""kopf's part: it watches and triggers reconciles, and does nothing else (see docs/adr/0001)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import kopf

from slipway_operator.api import names
from slipway_operator.api.verbs import Verb
from slipway_operator.cluster.client import Resource
from slipway_operator.reconcile.loop import Loop
from slipway_operator.reconcile.scheduler import Key

_CHILDREN: Final = (
    ("apps", "v1", "deployments"),
    ("", "v1", "pods"),
    ("", "v1", "services"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("policy", "v1", "poddisruptionbudgets"),
)


ModelListener = Callable[[str | None, Mapping[str, Any]], None]
"""Takes an event of the watch of Models: its type, None in a listing, and the Model."""


def registry_for(
    loop: Loop, routes: Iterable[Resource] = (), listeners: Iterable[ModelListener] = ()
) -> kopf.OperatorRegistry:
    """Handlers that turn every event into a wake-up.

    Only `on.event`: it writes no annotation, adds no finalizer and keeps no progress. The handlers are
    coroutines because kopf runs plain functions in threads, where the loop must not be touched.

    Args:
        loop: What is woken up.
        routes: Kinds of routes that the API server knows.
        listeners: Who is told of every event of a Model as well.
    """
    registry = kopf.OperatorRegistry()
    generations: dict[tuple[str, str], tuple[Key, int, str]] = {}

    @kopf.on.login(registry=registry)
    async def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
        in_cluster = kopf.login_with_service_account(**kwargs)
        return in_cluster or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
    async def on_model(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 (kopf's name)
        metadata = body["metadata"]
        place = metadata["namespace"], metadata["name"]
        key = Key(*place, metadata["uid"])
        if type == "DELETED":
            generations.pop(place, None)
            loop.model_deleted(key)
            return
        loop.model_changed(key, int(metadata["resourceVersion"]))
        # A pin is asked for by annotation, and another version is then looked for in the source.
        pin = (metadata.get("annotations") or {}).get(Verb.ROLLBACK.annotation, "")
        generation = key, metadata.get("generation", 0), pin
        if generations.get(place) != generation:
            generations[place] = generation
            loop.spec_changed(key)

    for number, listener in enumerate(listeners):
        # A handler of its own: whatever becomes of it, the others are called.
        @kopf.on.event(
            names.GROUP, names.VERSION, names.PLURAL, id=f"listener-{number}", registry=registry
        )
        async def on_listened(
            type: str | None,  # noqa: A002 (kopf's name)
            body: kopf.Body,
            listener: ModelListener = listener,
            **_: Any,
        ) -> None:
            listener(type, body)

    for group, version, plural in (*_CHILDREN, *((*r.api.split("/"), r.plural) for r in routes)):

        @kopf.on.event(
            group,
            version,
            plural,
            id=f"wake-{plural}",
            labels={names.MODEL_LABEL: kopf.PRESENT, names.MANAGED_BY_LABEL: names.MANAGED_BY}
            if plural != "endpointslices"
            else {names.MODEL_LABEL: kopf.PRESENT},
            registry=registry,
        )
        async def on_child(body: kopf.Body, **_: Any) -> None:
            metadata = body["metadata"]
            loop.child_changed(metadata["namespace"], metadata["labels"][names.MODEL_LABEL])

    @kopf.on.event(
        "",
        "v1",
        "pods",
        id="wake-preflights",
        labels={
            names.PREFLIGHT_LABEL: kopf.PRESENT,
            names.MANAGED_BY_LABEL: names.MANAGED_BY,
        },
        registry=registry,
    )
    async def on_preflight(body: kopf.Body, **_: Any) -> None:
        # Their Jobs are not watched: what becomes of one shows in its pod.
        metadata = body["metadata"]
        loop.child_changed(metadata["namespace"], metadata["labels"][names.PREFLIGHT_LABEL])

    return registry


def settings_for() -> kopf.OperatorSettings:
    """Kopf's settings: no Events of its own, watches that are renewed, no server-side state."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    # What is watched is known beforehand; following CRDs and namespaces would need more rights.
    settings.scanning.disabled = True
    # A watch that the server has forgotten about is noticed: the server ends it after 5 minutes,
    # the client soon after that.
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.networking.request_timeout = 30
    return settings
