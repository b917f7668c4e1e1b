"""Writes the index document of a local tree of exports, for a static server to serve beside them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import mkstemp
from typing import Annotated

import structlog
import typer

from slipway_sync.agent.errors import SyncError, of_source, volume_errors
from slipway_sync.exports import (
    ExitCode,
    Listing,
    ObjectInfo,
    hostile_key,
    printable,
    version_directories,
)
from slipway_sync.stores import LocalStore, SourceError
from slipway_sync.stores.backends.index_document import NAME, render_index

_CHUNK = 1 << 20


def index_command(
    directory: Annotated[
        Path,
        typer.Argument(help="Base path; its children are version directories with integer names."),
    ],
    output: Annotated[
        str, typer.Option(help="Output file, - for standard output; default: DIRECTORY/index.json.")
    ] = "",
) -> None:
    """Write the index document that a static server needs beside the exports in a directory."""
    try:
        document = asyncio.run(index_document(directory))
        path = Path(output) if output else directory / NAME
        if output == "-":
            sys.stdout.buffer.write(document)
        else:
            write_index(document, path)
            structlog.get_logger().info("indexed", file=str(path), bytes=len(document))
    except SyncError as error:
        sys.stderr.write(f"slipway-sync: {error}\n")
        raise typer.Exit(error.code) from None


async def index_document(directory: Path) -> bytes:
    """Return the index document of a directory whose children are version directories.

    Raises:
        SyncError: It cannot be read, or holds what no index may.
    """
    store = LocalStore(directory)
    try:
        versions, _ = version_directories(await store.children())
        listings = {version.name: await store.listing(version.name) for version in versions}
    except SourceError as error:
        if error.reason == "NotFound":
            raise SyncError(ExitCode.USAGE, str(error)) from error
        raise of_source(error) from error
    if not listings:
        raise SyncError(
            ExitCode.USAGE,
            f"{printable(str(directory))} contains no version: its children must be directories "
            "with integer names, such as 1",
        )
    return render_index(
        {name: _hashed(directory / name, listing) for name, listing in listings.items()}
    )


def write_index(document: bytes, path: Path) -> None:
    """Write a document so that a reader sees the old one or the new one.

    Raises:
        SyncError: It cannot be written.
    """
    with volume_errors(str(path)):
        descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
            _readable_by_a_server(name)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise


def _hashed(directory: Path, listing: Listing) -> Listing:
    found = hostile_key(item.path for item in listing)
    if found is not None:
        raise SyncError(
            ExitCode.USAGE,
            f"{directory.name}/{printable(found[0])} {found[1]}: rename it",
            path=found[0],
        )
    return tuple(_with_hash(directory, item) for item in listing)


def _with_hash(directory: Path, item: ObjectInfo) -> ObjectInfo:
    """Read a file; it must be the one that was listed, from beginning to end."""
    hasher = hashlib.sha256()
    size = 0
    try:
        with (directory / item.path).open("rb") as file:
            before = os.fstat(file.fileno())
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
                size += len(chunk)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise SyncError(
            ExitCode.SOURCE_UNAVAILABLE,
            f"{printable(str(directory / item.path))} cannot be read: "
            f"{os.strerror(error.errno or 0)}",
            path=item.path,
        ) from error
    if size != item.size or before.st_mtime_ns != after.st_mtime_ns:
        raise SyncError(
            ExitCode.REVISION_MOVED,
            f"{printable(str(directory / item.path))} changed while it was read: index again "
            "when the exports are complete",
            path=item.path,
        )
    digits = hasher.hexdigest()
    return replace(item, etag=digits, sha256=digits)


def _readable_by_a_server(name: str) -> None:
    """Give a file the permissions that a new one has here; mkstemp keeps others out."""
    mask = os.umask(0)
    os.umask(mask)
    Path(name).chmod(0o666 & ~mask)
