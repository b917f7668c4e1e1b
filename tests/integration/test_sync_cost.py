"""What a sync costs: the requests a real server counts, and the memory of the process, whatever the export's size."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from certificates import Authority
from slipway_sync.agent.fetch.transfer import PART
from sync_bench import exports
from sync_bench.clients import BUCKET, PREFIX, VERSION, arguments
from sync_bench.measuring import LAUNCH
from sync_bench.server import Certificates, Server, running

SHARDS, ASSETS = 11, 7
FILES = SHARDS + ASSETS + 2


@dataclass
class Lab:
    """A server that counts, an export in it, and a volume."""

    server: Server
    home: Path
    source: Path

    def sync(self, *more: str) -> Counter[str]:
        """Run the agent; return what the server was asked."""
        self.run(*more)
        return self.server.asked()

    def run(self, *more: str) -> float:
        """Run the agent; return its peak of memory in MiB."""
        destination = str(self.home / "volume")
        command = [
            part.replace("{destination}", destination) for part in arguments(self.server, self.home)
        ]
        self.server.asked()
        result = self.home / "took.json"
        agent = str(Path(sys.executable).with_name("slipway-sync"))
        within_limit = subprocess.run(
            [sys.executable, "-I", "-S", str(LAUNCH), str(result), agent, *command, *more],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        took = json.loads(result.read_text())
        assert took["code"] == 0, within_limit.stdout
        return float(took["memory"])

    def large(self, mib: int) -> None:
        """Add one file of zeros."""
        with (self.source / "assets" / "large.bin").open("wb") as file:
            file.truncate(mib << 20)


@contextmanager
def lab(home: Path, tls: Certificates | None = None) -> Iterator[Lab]:
    buckets = home / "buckets"
    source = buckets / BUCKET / PREFIX / VERSION
    exports.write(source, size=4_000_000, files=FILES)
    with running(home, buckets, tls) as server:
        yield Lab(server, home, source)
    shutil.rmtree(buckets)


@pytest.mark.parametrize("kept", [(), ("--cache",)], ids=["emptyDir", "kept volume"])
def test_every_byte_is_asked_for_once_and_never_again(
    tmp_path: Path, kept: tuple[str, ...]
) -> None:
    with lab(tmp_path) as there:
        there.large(40)
        parts = -(-(40 << 20) // PART)
        first = there.sync(*kept)
        # The proof reads the graph and the index before anything is brought.
        assert first["GetObject"] == FILES + parts + 2
        assert first.total() - first["GetObject"] == 1, f"and one page is listed: {first}"
        assert there.sync(*kept) == Counter(), "an unchanged volume asks for nothing at all"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_memory_does_not_grow_with_the_export(tmp_path: Path, scheme: str) -> None:
    """Over HTTP bytes go the direct way, over HTTPS through the library."""
    with lab(tmp_path, certificates(tmp_path) if scheme == "https" else None) as there:
        there.large(64)
        small = there.run()
        shutil.rmtree(there.home / "volume")
        there.large(512)
        large = there.run()
    assert large < 256
    assert large < small + 40, f"{small:.0f} MiB for 64 MiB, {large:.0f} MiB for 512 MiB"


def certificates(directory: Path) -> Certificates:
    authority = Authority()
    pair = authority.issue()
    found = Certificates(directory / "crt", directory / "key", directory / "ca")
    found.certificate.write_bytes(pair.certificate)
    found.key.write_bytes(pair.key)
    found.authority.write_bytes(authority.pem)
    return found
