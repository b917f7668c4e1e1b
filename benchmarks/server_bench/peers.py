"""Other people's programs, each in an environment of its own outside the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "benchmarks" / "peers"
UV = ROOT / ".local" / "uv" / "bin" / "uv"
NAMES = {"KServe": "kserve", "MLServer": "mlserver"}


@dataclass(frozen=True, slots=True)
class Peer:
    """An installed program.

    Attributes:
        python: its interpreter.
        versions: of the packages that matter.
    """

    python: str
    versions: dict[str, str]


def install() -> dict[str, Peer]:
    """Install what `benchmarks/peers/NAME.txt` pins, where it is not installed yet."""
    beside = ("tensorflow-cpu", "grpcio", "protobuf", "numpy")
    return {name: installed(package, *beside) for name, package in NAMES.items()}


def installed(package: str, *beside: str) -> Peer:
    """Install what `benchmarks/peers/PACKAGE.txt` pins, and ask for versions, also of packages beside it."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = base / "slipway" / "bench" / package
    pins, stamp = PINS / f"{package}.txt", home / "pins.txt"
    python = home / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        print(f"install {package} …", flush=True)
        _run(str(UV), "venv", "--quiet", "--clear", "--python", sys.executable, str(home))
        _run(str(UV), "pip", "sync", "--quiet", "--python", str(python), str(pins))
        stamp.write_text(pins.read_text())
    names = (package, *beside)
    ask = (
        "import importlib.metadata as m, json, sys;"
        "print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [str(python), "-c", ask, *names], capture_output=True, text=True, check=True
    )
    return Peer(str(python), json.loads(done.stdout))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
