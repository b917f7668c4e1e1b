import re

import pytest

from slipway_sync.store_kinds import CLAIM, CLOUDS, KINDS, StoreKind, kind_of, uri_pattern
from slipway_sync.stores import StoreOptions, credential_names, missing_credentials, open_store

OPENED = [kind for kind in KINDS if kind.opener]
OPTIONS = StoreOptions(credentials={"AZURE_STORAGE_ACCOUNT_NAME": "account"})


@pytest.mark.parametrize("kind", OPENED, ids=lambda kind: kind.scheme)
def test_every_kind_that_is_read_over_a_network_is_opened_by_its_entry(kind: StoreKind) -> None:
    for scheme in kind.schemes:
        store = open_store(f"{scheme}://models/digits", OPTIONS)
        assert type(store).__name__ in {"ObjectStore", "HttpStore"}
        assert kind_of(f"{scheme}://models/digits") is kind


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.scheme)
def test_what_suffices_can_be_given(kind: StoreKind) -> None:
    for method in kind.auth_methods:
        assert set(method) <= set(kind.credentials)
        uri = f"{kind.schemes[0]}://models/digits"
        assert missing_credentials(uri, method) is None
        assert missing_credentials(uri, method[:-1]) is not None
        assert set(method) <= set(credential_names(uri))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.scheme)
def test_the_pattern_takes_the_uris_of_its_kind_and_no_other(kind: StoreKind) -> None:
    for scheme in kind.schemes:
        for uri in (f"{scheme}://models", f"{scheme}://models/a/b/"):
            assert re.fullmatch(uri_pattern(KINDS), uri)
            assert re.fullmatch(uri_pattern((kind,)), uri)
            others = tuple(other for other in KINDS if other is not kind)
            assert re.fullmatch(uri_pattern(others), uri) is None
    assert re.fullmatch(uri_pattern((kind,)), f"{kind.schemes[0]}:///a") is None


def test_a_claim_is_opened_by_no_store_and_a_cloud_has_a_place() -> None:
    assert not CLAIM.opener
    assert credential_names("pvc://models") == ()
    assert {kind.scheme for kind in CLOUDS} == {"s3", "gs", "az"}
    assert all(kind.deletes and kind.endpoint for kind in CLOUDS)
