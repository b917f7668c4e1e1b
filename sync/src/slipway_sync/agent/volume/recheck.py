"""Reads a version that lies on the volume again and compares it with its record."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from slipway_sync.agent.progress import Progress
from slipway_sync.agent.threads import in_thread
from slipway_sync.agent.volume.filesystem import files_below
from slipway_sync.agent.volume.layout import is_besides
from slipway_sync.agent.volume.record import Record

_CHUNK = 1 << 20
_AT_ONCE = 4
"""Files hashed side by side: hashing takes a core, reading from a network waits."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is on the volume.

    Attributes:
        good: Paths of the files that are as they were.
        whole: Whether that is all of them, and nothing else is there.
    """

    good: frozenset[str]
    whole: bool


async def verify(version: Path, record: Record, progress: Progress) -> Findings:
    """Hash every file of a version; what cannot be read is as bad as what is wrong."""
    turns = asyncio.Semaphore(_AT_ONCE)
    loop = asyncio.get_running_loop()

    def count(read: int) -> None:
        loop.call_soon_threadsafe(lambda: progress.add_bytes(read, moved=False))

    async def is_good(path: str) -> bool:
        expected = record.files[path]
        async with turns:
            found = await in_thread(lambda: _sha256(version / path, count))
        if found != expected.sha256:
            return False
        progress.add_file()
        return True

    paths = sorted(record.files)
    answers = await asyncio.gather(*(is_good(path) for path in paths))
    good = frozenset(path for path, answer in zip(paths, answers, strict=True) if answer)
    there = await in_thread(lambda: _names(version, record.files))
    return Findings(good, whole=good == there == record.files.keys())


def _sha256(path: Path, count: Callable[[int], None]) -> str:
    hasher = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - opened without following links
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
                count(len(chunk))
    except OSError:
        return ""
    return hasher.hexdigest()


def _names(version: Path, known: Collection[str]) -> frozenset[str]:
    try:
        found = [path for path, _ in files_below(version)]
        return frozenset(path for path in found if path in known or not is_besides(path))
    except OSError:
        return frozenset()
