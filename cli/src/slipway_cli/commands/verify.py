"""`slipway verify`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from slipway_cli.commands import options
from slipway_cli.errors import CliError, UsageError
from slipway_cli.output import Format, as_json, resolved, write


def verify_command(
    target: Annotated[
        str,
        typer.Argument(
            help="Directory or URI (s3://, gs://, az://, https://) of an export; of a base path, its highest version.",
            metavar="DIR|URI",
        ),
    ],
    checksums: Annotated[
        bool,
        typer.Option(
            "--checksums",
            help="Read every byte: the checksum of each tensor, SHA256SUMS where it is there, and the digest.",
            rich_help_panel=options.CHECKS,
        ),
    ] = False,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag",
            metavar="TAG",
            help="Tag of the graph to serve; may be repeated; default: serve.",
            rich_help_panel=options.CHECKS,
        ),
    ] = None,
    completion_marker: Annotated[
        str,
        typer.Option(
            "--completion-marker",
            metavar="NAME",
            help="File that must exist.",
            rich_help_panel=options.CHECKS,
        ),
    ] = "",
    public_key: Annotated[
        Path | None,
        typer.Option(
            "--public-key",
            metavar="FILE",
            help="PEM file with Ed25519 public keys, one of which must have signed SHA256SUMS.",
            rich_help_panel=options.CHECKS,
        ),
    ] = None,
    output: options.OutputFormat = None,
    endpoint: options.Endpoint = "",
    region: options.Region = "",
    ca_file: options.CaFile = None,
) -> None:
    """Check whether an export is complete, by the checks of the operator and the sync agent."""
    from slipway_cli.exports.location import Access
    from slipway_sync.exports import DEFAULT_TAGS, Requirements, size

    asked = Requirements(tuple(tag or DEFAULT_TAGS), _keys(public_key), completion_marker)
    access = Access(endpoint, region, ca_file, options.environment())
    found = asyncio.run(_verified(target, access, asked, checksums))
    if resolved(output) is Format.JSON:
        write(as_json(found.as_json()))
    elif found.complete:
        looked = f", every byte read, {found.digest}" if found.digest else ""
        write(f"{found.where} is complete: {found.files} files, {size(found.bytes)}{looked}")
    if not found.complete:
        what = "is not complete" if found.verdict == "Incomplete" else "is wrong"
        raise CliError(f"{found.where} {what}: {found.message} ({found.reason})")


async def _verified(target: str, access: Any, asked: Any, content: bool) -> Any:
    from slipway_cli.commands.bars import bytes_bar
    from slipway_cli.exports.location import locate
    from slipway_cli.exports.verification import verify

    location = await locate(target, access)
    with bytes_bar(location.where, shown=content and sys.stderr.isatty()) as report:
        return await verify(location, asked, content=content, report=report)


def _keys(path: Path | None) -> tuple[bytes, ...]:
    from slipway_sync.exports import PublicKeyError, read_public_keys

    if path is None:
        return ()
    try:
        return read_public_keys(path.read_bytes())
    except OSError as error:
        raise UsageError(f"--public-key {path} cannot be read: {error.strerror}") from error
    except PublicKeyError as error:
        raise UsageError(f"--public-key {path} is not usable: {error}") from error
