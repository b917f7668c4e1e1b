"""The load generators: pinned Go modules, built into the cache, and what they say about a run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MODULES = Path(__file__).resolve().parents[1] / "tools"
PACKAGES = {"ghz": "github.com/bojand/ghz/cmd/ghz", "hey": "github.com/rakyll/hey"}


@dataclass(frozen=True, slots=True)
class Load:
    """What a generator saw.

    Attributes:
        failed: requests that were not answered with success.
        rate: answers a second.
        p50, p99: latency in milliseconds.
    """

    requests: int
    failed: int
    rate: float
    p50: float
    p99: float


@cache
def program(name: str) -> Path:
    """The generator's path; built when it is not in the cache yet."""
    folder = MODULES / name
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir())))
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "slipway" / "tools" / f"{name}-{digest.hexdigest()[:16]}" / name
    if not path.exists():
        print(f"build {name} …", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{name}.{os.getpid()}")
        subprocess.run(
            ["go", "build", "-trimpath", "-buildvcs=false", "-o", str(draft), PACKAGES[name]],
            cwd=folder,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
        )
        draft.rename(path)
    return path


@dataclass(frozen=True, slots=True)
class GrpcCall:
    """A unary call; the generator takes request and answer apart no further than their top-level fields.

    Attributes:
        target: host:port.
        method: package.Service.Method, of the descriptors in `protoset`.
        body: file with the request's bytes.
    """

    target: str
    method: str
    protoset: Path
    body: Path

    def command(self, concurrency: int, seconds: float | None, requests: int = 0) -> list[str]:
        """The generator's command line: for some seconds, or for a number of requests."""
        extent = ["-z", f"{seconds}s", "--duration-stop=wait"] if seconds else ["-n", str(requests)]
        return [
            *(str(program("ghz")), "--insecure", "--format=json", "--cpus=1"),
            *("--protoset", str(self.protoset), "--call", self.method, "-B", str(self.body)),
            *("-c", str(concurrency), *extent, "--timeout=60s", "--max-recv-message-size=64MB"),
            self.target,
        ]

    def read(self, text: str) -> Load:
        """Take the report apart."""
        said = json.loads(text)
        good = said["statusCodeDistribution"].get("OK", 0)
        percentiles = {at["percentage"]: at["latency"] for at in said["latencyDistribution"] or ()}
        return Load(
            requests=said["count"],
            failed=said["count"] - good,
            rate=said["rps"],
            p50=percentiles.get(50, 0) / 1e6,
            p99=percentiles.get(99, 0) / 1e6,
        )


@dataclass(frozen=True, slots=True)
class RestCall:
    """A POST of JSON."""

    url: str
    body: Path

    def command(self, concurrency: int, seconds: float | None, requests: int = 0) -> list[str]:
        """As `GrpcCall.command`."""
        extent = ["-z", f"{seconds}s"] if seconds else ["-n", str(requests)]
        return [
            *(str(program("hey")), "-cpus", "1", "-m", "POST", "-T", "application/json"),
            *("-D", str(self.body), "-c", str(concurrency), *extent, "-t", "60"),
            self.url,
        ]

    def read(self, text: str) -> Load:
        """Take the report apart."""
        statuses = {
            int(status): int(count)
            for status, count in re.findall(r"\[(\d{3})\]\s+(\d+) responses", text)
        }
        unanswered = sum(
            int(count) for count in re.findall(r"^\s+\[(\d+)\]\s+\D", text, re.MULTILINE)
        )
        rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
        percentiles = dict(re.findall(r"(\d+)%+ in ([\d.]+) secs", text))
        requests = sum(statuses.values()) + unanswered
        return Load(
            requests=requests,
            failed=requests - statuses.get(200, 0),
            rate=float(rate[1]) if rate else 0.0,
            p50=float(percentiles.get("50", 0)) * 1e3,
            p99=float(percentiles.get("99", 0)) * 1e3,
        )


Call = GrpcCall | RestCall
