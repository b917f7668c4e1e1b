"""Distributions with plug-ins, written the way an installer leaves them in a folder of the module path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_distribution(
    folder: Path, name: str, module: str, entry_points: Mapping[str, Mapping[str, str]]
) -> None:
    """Write version 1.0 of a distribution: one module with this text, and its entry points by group and name."""
    package = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{package}.py").write_text(module)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, points in entry_points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
