"""Deleting an export from real stores: its objects, its folders, and nothing beside it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio

from cluster.s3 import S3Server
from cluster.stores import AzureServer, GcsServer
from local_stores import local_options
from slipway_sync.stores import ErasableStore, SourceError, Store, open_store
from world import BUCKET, Bucket

OBJECTS = ("a b/ü", "saved_model.pb", "variables/variables.index")


class Place:
    """A folder of exports in a store that keeps markers of folders."""

    def __init__(self, store: Store, name: str) -> None:
        assert isinstance(store, ErasableStore)
        self.store = store
        self.name = name

    def listed(self, directory: str) -> list[str]:
        return [item.path for item in asyncio.run(self.store.listing(directory))]

    def children(self) -> tuple[str, ...]:
        return asyncio.run(self.store.children())

    def delete(self, *paths: str) -> None:
        asyncio.run(self.store.delete("1", paths))

    def delete_folders(self) -> None:
        asyncio.run(self.store.delete_folders("1"))


def keys(name: str, *, markers: bool) -> list[str]:
    folders = [f"{name}/1/", f"{name}/1/a b/", f"{name}/1/variables/"] if markers else []
    return [*folders, *(f"{name}/1/{path}" for path in OBJECTS), f"{name}/10/saved_model.pb"]


@pytest.fixture(params=["s3", "gs", "az"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server, bucket: Bucket
) -> Iterator[Place]:
    name = "erasing"
    if request.param == "s3":
        for key in keys(name, markers=True):
            folder, _, path = key.rpartition("/")
            bucket.upload(folder, {path: b"x" if path else b""})
        signed = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
        options = local_options(endpoint=s3.endpoint, credentials=signed)
        yield Place(open_store(f"s3://{BUCKET}/{name}", options), name)
        bucket.remove(name)
        return
    kind = GcsServer if request.param == "gs" else AzureServer
    given = (
        {"GOOGLE_BEARER_TOKEN": "a-token"}
        if kind is GcsServer
        else {"AZURE_STORAGE_ACCOUNT_KEY": AzureServer.key}
    )
    with kind.start(tmp_path) as server:
        server.create_bucket(BUCKET)
        # Azure's folders are no keys with a slash at their end.
        for key in keys(name, markers=kind is GcsServer):
            server.put(BUCKET, key, b"" if key.endswith("/") else b"x")
        options = local_options(endpoint=server.endpoint, credentials=given)
        yield Place(open_store(f"{request.param}://{BUCKET}/{name}", options), name)


def test_an_export_goes_with_its_folders_and_its_neighbour_stays(place: Place) -> None:
    assert place.listed("1") == list(OBJECTS)
    place.delete("saved_model.pb")
    assert place.listed("1") == ["a b/ü", "variables/variables.index"]
    place.delete("saved_model.pb", "a b/ü", "variables/variables.index", "was/never/there")
    assert place.listed("1") == []
    place.delete_folders()
    assert place.children() == ("10",)
    assert place.listed("10") == ["saved_model.pb"]


def test_a_key_that_leads_elsewhere_is_not_deleted(place: Place) -> None:
    with pytest.raises(SourceError, match=r"holds '\.\.'"):
        place.delete("../10/saved_model.pb")
    assert place.listed("10") == ["saved_model.pb"]


def test_without_credentials_nothing_is_deleted(s3: S3Server) -> None:
    store = open_store(f"s3://{BUCKET}/m", local_options(endpoint=s3.endpoint))
    assert isinstance(store, ErasableStore)
    with pytest.raises(SourceError, match="nothing is deleted without credentials") as caught:
        asyncio.run(store.delete("1", ["saved_model.pb"]))
    assert caught.value.reason == "AccessDenied"


def test_more_objects_than_one_request_takes(s3: S3Server, bucket: Bucket) -> None:
    root = s3.data / BUCKET / "many" / "1"
    root.mkdir(parents=True)
    for number in range(1203):
        (root / f"{number:05}").write_bytes(b"x")
    signed = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    options = local_options(endpoint=s3.endpoint, credentials=signed)
    place = Place(open_store(f"s3://{BUCKET}/many", options), "many")
    place.delete(*place.listed("1"))
    assert place.listed("1") == []
    client: Minio = bucket.store
    assert not list(client.list_objects(BUCKET, "many/1/", recursive=True))
