"""Every name of the table is refused or harmless, and a message about it is one line."""

import pytest

from faults_names import HARMLESS, HOSTILE
from slipway_sync.exports import Verdict, examine, hostile_key, printable
from small_exports import FILES, contents, listing_of


def test_there_are_enough() -> None:
    assert len(HOSTILE) >= 200
    assert len(HARMLESS) >= 100


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_is_refused(name: str) -> None:
    found = hostile_key([*FILES, name])
    assert found is not None
    path, wrong = found
    # Of a file and a directory of one name, the file is named.
    assert path in {name, *FILES} or name in wrong
    assert f"{printable(path)} {wrong}".isprintable()
    assert "\n" not in wrong


def test_an_export_with_any_of_them_is_rejected_by_that_name() -> None:
    for name in HOSTILE:
        files = contents() | {name: b""}
        proof = examine(listing_of(files), {}, limit=1)
        assert (proof.verdict, proof.reason) == (Verdict.REJECTED, "HostileKey"), name
        assert proof.object in {name, *FILES, *(name.split("/")[0],)}


def test_harmless_names_are_taken_together() -> None:
    assert hostile_key([*FILES, *HARMLESS]) is None
