"""Lock files pin by hash and say nothing of where a package comes from."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = [
    *ROOT.glob("requirements/*.lock"),
    *(
        ROOT / folder / "package-lock.json"
        for folder in ("e2e/cluster/azurite", "examples/keras_rest")
    ),
    ROOT / "server/native/crates.lock",
    *(source.with_suffix(".txt") for source in ROOT.glob("benchmarks/peers/*.in")),
]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_writes_down_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "sha512-" in text or "sha256:" in text or '\nchecksum = "' in text
