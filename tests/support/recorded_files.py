"""Records what a sync does to a volume and replays any beginning of it, as a kill or a power failure would leave it.

The model of a disk is the harshest that a POSIX file system may be: fsync of a file makes its content durable but not
its name, fsync of a directory makes the names in it durable and nothing else, and of what is not durable any part may
survive a power failure, in any order.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from slipway_sync.agent.volume.filesystem import FileSystem

ROOT = 0


@dataclass(frozen=True)
class Write:
    """Bytes into a file."""

    node: int
    at: int
    data: bytes


@dataclass(frozen=True)
class Names:
    """A change of names, all of it or nothing: (directory, name) → node, or None where the name goes."""

    changes: tuple[tuple[int, str, int | None], ...]
    made: int | None = None
    """A directory that this makes."""

    @property
    def directory(self) -> int:
        """The directory whose fsync makes it durable: the one that gets the name, if one does."""
        return self.changes[-1][0]


@dataclass(frozen=True)
class Fsync:
    """Of a file or a directory."""

    node: int


@dataclass(frozen=True)
class Other:
    """Changes neither names nor content."""

    what: str


Operation = Write | Names | Fsync | Other


@dataclass
class Disk:
    """Directories by node, files by node."""

    directories: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    files: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> Disk:
        return Disk(
            {node: dict(names) for node, names in self.directories.items()}, dict(self.files)
        )

    def rename(self, operation: Names) -> None:
        if operation.made is not None:
            self.directories.setdefault(operation.made, {})
        for directory, name, node in operation.changes:
            names = self.directories.setdefault(directory, {})
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node

    def write(self, operation: Write) -> None:
        old = self.files.get(operation.node, b"").ljust(operation.at, b"\0")
        end = operation.at + len(operation.data)
        self.files[operation.node] = old[: operation.at] + operation.data + old[end:]

    def find(self, parts: tuple[str, ...]) -> int | None:
        node: int | None = ROOT
        for part in parts:
            node = self.directories.get(node, {}).get(part) if node is not None else None
        return node

    def tree(self, node: int = ROOT, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield path and node of everything that has a name, directories before what is in them."""
        for name, child in sorted(self.directories.get(node, {}).items()):
            yield prefix + name, child
            if child in self.directories:
                yield from self.tree(child, f"{prefix}{name}/")

    def fingerprint(self) -> str:
        hasher = hashlib.sha256()
        for path, node in self.tree():
            content = self.files.get(node)
            hasher.update(f"{path}\0{content is None}\0".encode())
            hasher.update(hashlib.sha256(content or b"").digest())
        return hasher.hexdigest()

    def write_to(self, root: Path) -> None:
        """Make real directories and files of it."""
        made: dict[int, Path] = {}
        root.mkdir(parents=True)
        for path, node in self.tree():
            target = root / path
            if node in self.directories:
                target.mkdir()
            elif node in made:
                target.hardlink_to(made[node])
            else:
                target.write_bytes(self.files.get(node, b""))
                os.utime(target, (0, 0))
                made[node] = target


class Unsynced(FileSystem):
    """Spares the machine's own disk: nobody cuts its power."""

    @override
    def fsync(self, descriptor: int) -> None:
        pass

    @override
    def fsync_directory(self, path: Path) -> None:
        if not path.is_dir():
            raise FileNotFoundError(path)


class Recorder(Unsynced):
    """Does the real operations below a directory and notes each of them."""

    def __init__(self, root: Path) -> None:
        """Begin with what lies there: all of it is durable."""
        self.root = root
        self.operations: list[Operation] = []
        self.start = Disk()
        self._next = ROOT + 1
        self._nodes: dict[int, int] = {}
        self._read(root, ROOT)
        self._now = self.start.copy()

    @override
    def make_directory(self, path: Path) -> None:
        super().make_directory(path)
        node = self._new()
        self._note(Names(((*self._place(path), node),), made=node))

    @override
    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._created(path, descriptor)
        return descriptor

    @override
    def open_lock(self, path: Path) -> int:
        there = path.exists()
        descriptor = super().open_lock(path)
        if not there:
            self._created(path, descriptor)
        return descriptor

    @override
    def pwrite(self, descriptor: int, data: memoryview | bytes, at: int) -> int:
        written = super().pwrite(descriptor, data, at)
        self._note(Write(self._node(descriptor), at, bytes(data[:written])))
        return written

    @override
    def append(self, path: Path, data: bytes) -> None:
        there = path.exists()
        size = path.stat().st_size if there else 0
        super().append(path, data)
        with path.open("rb") as file:
            if not there:
                self._created(path, file.fileno())
            self._note(Write(self._node(file.fileno()), size, data))

    @override
    def make_read_only(self, descriptor: int) -> None:
        super().make_read_only(descriptor)
        self._note(Other("chmod"))

    @override
    def fsync(self, descriptor: int) -> None:
        super().fsync(descriptor)
        self._note(Fsync(self._node(descriptor)))

    @override
    def fsync_directory(self, path: Path) -> None:
        super().fsync_directory(path)
        node = self._now.find(path.relative_to(self.root).parts)
        assert node is not None
        self._note(Fsync(node))

    @override
    def link(self, source: Path, target: Path) -> None:
        super().link(source, target)
        node = self._now.find(source.relative_to(self.root).parts)
        assert node is not None
        self._name(target, node)

    @override
    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        (old_directory, old), (new_directory, new) = self._place(source), self._place(target)
        node = self._now.directories[old_directory][old]
        self._note(Names(((old_directory, old, None), (new_directory, new, node))))

    @override
    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._name(path, None)

    @override
    def remove_directory(self, path: Path) -> None:
        super().remove_directory(path)
        self._name(path, None)

    @override
    def touch(self, path: Path, seconds: float) -> None:
        super().touch(path, seconds)
        self._note(Other("utime"))

    def _created(self, path: Path, descriptor: int) -> None:
        node = self._new()
        self._nodes[os.fstat(descriptor).st_ino] = node
        self._name(path, node)

    def _name(self, path: Path, node: int | None) -> None:
        directory, name = self._place(path)
        self._note(Names(((directory, name, node),)))

    def _note(self, operation: Operation) -> None:
        self.operations.append(operation)
        if isinstance(operation, Names):
            self._now.rename(operation)

    def _place(self, path: Path) -> tuple[int, str]:
        *above, name = path.relative_to(self.root).parts
        directory = self._now.find(tuple(above))
        assert directory is not None
        return directory, name

    def _node(self, descriptor: int) -> int:
        return self._nodes[os.fstat(descriptor).st_ino]

    def _new(self) -> int:
        self._next += 1
        return self._next

    def _read(self, directory: Path, node: int) -> None:
        for path in sorted(directory.iterdir()):
            if path.is_dir():
                child = self._new()
                self.start.directories[child] = {}
                self.start.directories[node][path.name] = child
                self._read(path, child)
                continue
            inode = path.stat().st_ino
            if inode not in self._nodes:
                self._nodes[inode] = self._new()
                self.start.files[self._nodes[inode]] = path.read_bytes()
            self.start.directories[node][path.name] = self._nodes[inode]


def killed(start: Disk, done: list[Operation]) -> Disk:
    """Return what a process leaves that is killed after these operations: all of them."""
    disk = start.copy()
    for operation in done:
        if isinstance(operation, Names):
            disk.rename(operation)
        elif isinstance(operation, Write):
            disk.write(operation)
    return disk


@dataclass(frozen=True)
class Loss:
    """How much of what is not durable survives a power failure.

    Attributes:
        names: Share of the changes of names that survive.
        data: Share of the content of each file that was not synced; the rest is cut off.
        zeros: Whether zeros take the place of what is cut off: the size came to the disk alone.
    """

    names: float
    data: float
    zeros: bool = False


def power_lost(start: Disk, done: list[Operation], loss: Loss, seed: int) -> Disk:
    """Return what a power failure leaves after these operations."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    synced = dict.fromkeys((*start.files, *start.directories), -1)
    for index, operation in enumerate(done):
        if isinstance(operation, Fsync):
            synced[operation.node] = index
    disk, cache = start.copy(), start.copy()
    for index, operation in enumerate(done):
        if isinstance(operation, Names):
            durable = index < synced.get(operation.directory, -1)
            if durable or chance.random() < loss.names:
                disk.rename(operation)
        elif isinstance(operation, Write):
            cache.write(operation)
            if index < synced.get(operation.node, -1):
                disk.write(operation)
    for node, content in cache.files.items():
        kept = disk.files.get(node, b"")
        if content != kept:
            share = content[: len(kept) + int((len(content) - len(kept)) * loss.data)]
            disk.files[node] = share.ljust(len(content), b"\0") if loss.zeros else share
    return disk


def durable_text(start: Disk, done: list[Operation], name: str) -> str:
    """Return what every power failure leaves of the last file that was created under a name."""
    named = [
        (index, change)
        for index, operation in enumerate(done)
        if isinstance(operation, Names)
        for change in operation.changes
        if change[1] == name and change[2] is not None
    ]
    if not named:
        return ""
    created, (directory, _, node) = named[-1]
    assert node is not None
    fsyncs = [index for index, operation in enumerate(done) if operation == Fsync(node)]
    if not fsyncs or Fsync(directory) not in done[created:]:
        return ""
    disk = start.copy()
    for operation in done[: fsyncs[-1]]:
        if isinstance(operation, Write) and operation.node == node:
            disk.write(operation)
    return disk.files.get(node, b"").decode()
