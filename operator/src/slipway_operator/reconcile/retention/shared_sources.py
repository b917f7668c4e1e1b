"""Models that share a source: retention of one must not delete what another serves."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from slipway_operator.api import names
from slipway_operator.api.resource import ModelResource
from slipway_operator.cluster import reading
from slipway_operator.cluster.client import DEPLOYMENTS, MODELS, Client

_KEPT: Final = 5.0
"""Seconds for which a listing of all Models serves the passes of many; a deletion takes none of these."""


class SharedSources:
    """Finds Models with the same URI, and the versions they use.

    The endpoint does not count: one store may have several, and to keep a version too many harms
    nobody. As the Models are listed, one that was never polled, or cannot be read, counts as well.
    """

    def __init__(
        self,
        client: Client,
        namespaces: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Search these namespaces; all when there are none."""
        self._client = client
        self._namespaces = tuple(namespaces) or ("",)
        self._clock = clock
        self._listed: tuple[float, dict[str, list[Mapping[str, Any]]]] = (float("-inf"), {})

    async def versions_in_use(self, model: ModelResource, *, fresh: bool = False) -> frozenset[int]:
        """Versions that other Models of this source serve, are about to, or name.

        Args:
            model: Its own versions are left out.
            fresh: List the Models again, whatever is cached.

        Raises:
            ClusterError: They cannot be listed; then nothing may be deleted.
        """
        now = self._clock()
        if fresh or now - self._listed[0] >= _KEPT:
            self._listed = (now, await self._list())
        versions: set[int] = set()
        for other in self._listed[1].get(_source_key(model.spec.source.uri), ()):
            if other["metadata"]["uid"] != model.uid:
                versions |= await self._of(other)
        return frozenset(versions)

    async def _list(self) -> dict[str, list[Mapping[str, Any]]]:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for namespace in self._namespaces:
            for item in await self._client.list(MODELS, namespace):
                uri = (item.get("spec") or {}).get("source", {}).get("uri", "")
                small = {
                    "metadata": {n: item["metadata"][n] for n in ("namespace", "name", "uid")},
                    "named": named(item["spec"]) if uri else set(),
                }
                found.setdefault(_source_key(uri), []).append(small)
        return found

    async def _of(self, other: Mapping[str, Any]) -> set[int]:
        metadata = other["metadata"]
        labels = {names.MODEL_LABEL: metadata["name"], names.MANAGED_BY_LABEL: names.MANAGED_BY}
        manifests = await self._client.list(DEPLOYMENTS, metadata["namespace"], labels)
        deployments = (reading.deployment(manifest) for manifest in manifests)
        return {found.version for found in deployments if found} | set(other["named"])


def named(spec: Mapping[str, Any]) -> set[int]:
    """Versions that a spec names; as the API server holds it, whether it is valid or not.

    >>> sorted(named({"labels": {"stable": 2}, "versions": {"specific": [1]}}))
    [1, 2]
    """
    labels = (spec.get("labels") or {}).values()
    specific = (spec.get("versions") or {}).get("specific") or ()
    return {*labels, *specific}


def _source_key(uri: str) -> str:
    return uri.rstrip("/")
