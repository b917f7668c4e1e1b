"""What other Models of one source hold."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from slipway_operator.api import names
from slipway_operator.cluster.client import MODELS, Client, ClusterError, Resource
from slipway_operator.reconcile.retention.shared_sources import SharedSources
from snapshots import model

OWN = model(retention={"keep": 1})
URI = OWN.spec.source.uri


def stored(name: str, uri: str, namespace: str = "other", **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{namespace}-{name}"}
    return {"metadata": metadata, "spec": {"source": {"uri": uri}} | spec}


def serving(name: str, version: int) -> dict[str, Any]:
    """A Deployment."""
    return {
        "metadata": {
            "name": f"{name}-v{version}", "uid": f"uid-{version}",
            "creationTimestamp": "2026-03-01T12:00:00Z",
            "labels": {
                names.SERVABLE_LABEL: f"v{version}-00000000", names.VERSION_LABEL: str(version),
                names.MODEL_LABEL: name,
            },
        },
        "spec": {"replicas": 0},
    }  # fmt: skip


class Cluster:
    """Lists Models and their Deployments."""

    def __init__(self, *models: dict[str, Any], **deployments: int) -> None:
        self.models = list(models)
        self.deployments = deployments
        self.listings = 0
        self.answers = True
        self.now = 0.0
        self.shared = SharedSources(cast("Client", self), (), lambda: self.now)

    async def list(
        self, resource: Resource, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        if resource is MODELS:
            if not self.answers:
                raise ClusterError("it does not answer")
            self.listings += 1
            assert namespace == ""
            return self.models
        assert labels is not None
        name = labels[names.MODEL_LABEL]
        return [serving(name, self.deployments[name])] if name in self.deployments else []

    def versions_in_use(self, *, fresh: bool = False) -> frozenset[int]:
        return asyncio.run(self.shared.versions_in_use(OWN, fresh=fresh))


def test_what_others_of_the_source_serve_or_name_is_theirs() -> None:
    own = stored(OWN.name, URI, OWN.namespace, labels={"stable": 9})
    own["metadata"]["uid"] = OWN.uid
    cluster = Cluster(
        own,
        stored("a", f"{URI}/", labels={"stable": 2}),
        stored("b", URI, versions={"specific": [3, 4], "fields of later": 1}),
        stored("c", URI.replace("s3://", "gs://"), labels={"stable": 5}),
        {"metadata": {"namespace": "other", "name": "d", "uid": "uid-d"}},
        stored("e", f"{URI}-other", labels={"stable": 6}),
        a=1, c=7, e=8,
    )  # fmt: skip
    assert cluster.versions_in_use() == {1, 2, 3, 4}


def test_a_listing_serves_many_passes_but_no_deletion() -> None:
    cluster = Cluster()
    assert cluster.versions_in_use() == cluster.versions_in_use() == frozenset()
    assert cluster.listings == 1
    cluster.models.append(stored("a", URI, labels={"stable": 2}))
    assert cluster.versions_in_use() == frozenset()
    assert cluster.versions_in_use(fresh=True) == {2}
    cluster.now += 5
    cluster.models.clear()
    assert cluster.versions_in_use() == frozenset()
    assert cluster.listings == 3


def test_without_a_listing_nothing_is_known_to_be_free() -> None:
    cluster = Cluster()
    cluster.answers = False
    with pytest.raises(ClusterError):
        cluster.versions_in_use()
