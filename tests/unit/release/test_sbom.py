"""Bills of materials hold all that the locks hold, once, and are the same each time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from release import sbom

ROOT = Path(__file__).resolve().parents[3]
MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("lock", ["operator", "sync", "server", "server-cuda"])
def test_every_pinned_package_is_listed(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.lock").read_text()
    listed = [f"{one.name}=={one.version}" for one in sbom.python_packages(text)]
    pinned = [line.split()[0] for line in text.splitlines() if "==" in line and line[0].isalnum()]
    assert listed == pinned
    assert len(listed) > 5


def test_every_crate_is_listed_with_its_checksum() -> None:
    text = (ROOT / "server/native/crates.lock").read_text()
    listed = sbom.crates(text)
    assert len(listed) == text.count("\nchecksum = ")
    assert all(len(next(iter(one.hashes)).content) == 64 for one in listed)


def test_the_same_release_has_the_same_bill() -> None:
    lock = (ROOT / "requirements/sync.lock").read_text()
    bills = {sbom.bill("x", "1.0.0", MADE, sbom.python_packages(lock)) for _ in range(2)}
    [text] = bills
    document = json.loads(text)
    assert document["metadata"]["timestamp"] == "2026-01-02T03:04:05+00:00"
    assert document["metadata"]["component"]["version"] == "1.0.0"
    assert {one["purl"] for one in document["components"]} == {
        one.purl.to_string() for one in sbom.python_packages(lock) if one.purl
    }
