"""The line of one file in SHA256SUMS."""

from __future__ import annotations

import pytest

from slipway_server.recording.files import with_digest
from slipway_sync.exports import read_manifest

NAME = "assets.extra/slipway_checks"
OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64

MANIFESTS = [
    f"{OTHER}  saved_model.pb\n",
    f"{OTHER}  saved_model.pb",
    f"# by hand\r\n{OTHER} *./saved_model.pb\r\n",
    f"{OLD}  {NAME}\n{OTHER}  saved_model.pb\n",
    f"{OTHER}  saved_model.pb\n{OLD} *./{NAME}\r\n",
    f"SHA256 ({NAME}) = {OLD}\nSHA256 (saved_model.pb) = {OTHER}\n",
    f"{OLD}  {NAME}\n{OTHER}  saved_model.pb\n{OLD}  {NAME}\n",
    f"{OTHER}  saved_model.pb\n{OLD}  copy/{NAME}\n",
]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_the_agent_reads_the_new_digest_and_all_others(manifest: str) -> None:
    found = read_manifest(with_digest(manifest.encode(), NAME, NEW)).sha256
    assert found[NAME] == NEW
    assert found["saved_model.pb"] == OTHER
    assert found.get(f"copy/{NAME}", OLD) == OLD
