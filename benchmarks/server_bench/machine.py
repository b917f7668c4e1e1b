"""Facts that a figure means nothing without."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("tensorflow-cpu", "grpcio", "protobuf", "numpy", "orjson", "httptools")


def facts() -> dict[str, str]:
    """What was measured on, and with which versions."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cores": f"{os.cpu_count()} × {names[0] if names else platform.machine()}",
        "system": f"Linux {platform.release()}",
        "Python": platform.python_version(),
        **versions(PACKAGES),
    }


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of those packages that are installed here."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
