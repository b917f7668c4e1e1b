"""Clients of stores are kept between polls, and never shared by those who are reached otherwise."""

from typing import Any

import pytest

from slipway_operator.reconcile.sources.clients import Clients
from slipway_sync.stores import SourceError, StoreOptions


def options(**changed: Any) -> StoreOptions:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    return StoreOptions(**({"endpoint": "http://s3.test:9000", "credentials": keys} | changed))


def client(of: Any) -> object:
    return of._client


def test_models_of_one_bucket_share_a_client_and_no_folder() -> None:
    clients = Clients()
    first = clients.open("s3://models/a", options())
    second = clients.open("s3://models/b/", options())
    assert client(first) is client(second)
    assert (vars(first)["_prefix"], vars(second)["_prefix"]) == ("a/", "b/")
    assert vars(second)["_uri"] == "s3://models/b"


@pytest.mark.parametrize(
    "changed",
    [
        {"credentials": {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "changed"}},
        {"endpoint": "http://other.test:9000"},
        {"region": "eu-north-1"},
    ],
)
def test_whatever_differs_has_a_client_of_its_own(changed: dict[str, Any]) -> None:
    clients = Clients()
    first = clients.open("s3://models/a", options())
    assert client(clients.open("s3://models/a", options(**changed))) is not client(first)
    assert client(clients.open("s3://other/a", options())) is not client(first)
    assert client(clients.open("s3://models/a", options())) is client(first)


def test_only_so_many_are_kept() -> None:
    clients = Clients(kept=2)
    first = client(clients.open("s3://bucket-1/a", options()))
    for number in (2, 3):
        clients.open(f"s3://bucket-{number}/a", options())
    assert client(clients.open("s3://bucket-1/a", options())) is not first


def test_a_folder_that_leads_elsewhere_is_refused_with_a_kept_client_too() -> None:
    clients = Clients()
    clients.open("s3://models/a", options())
    with pytest.raises(SourceError, match=r"holds '\.\.'"):
        clients.open("s3://models/../a", options())
