"""What the command line asks of an export, whichever command it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from slipway_sync.agent.errors import SyncError
from slipway_sync.exports import (
    DEFAULT_TAGS,
    ExitCode,
    ManifestError,
    PublicKeyError,
    Requirements,
    altered,
    read_manifest,
    read_public_keys,
)

Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Tag of the MetaGraph to load; may be repeated; default: serve."),
]
PublicKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--public-key",
        help="PEM file with Ed25519 public keys, one of which must have signed SHA256SUMS.",
    ),
]


def requirements(marker: str, tags: Sequence[str] | None, public_key: Path | None) -> Requirements:
    """Return what the options ask for.

    Raises:
        SyncError: The public keys cannot be read.
    """
    keys: tuple[bytes, ...] = ()
    if public_key is not None:
        try:
            keys = read_public_keys(public_key.read_bytes())
        except OSError as error:
            raise SyncError(ExitCode.USAGE, f"--public-key {public_key} cannot be read") from error
        except PublicKeyError as error:
            raise SyncError(
                ExitCode.USAGE, f"--public-key {public_key} is not usable: {error}"
            ) from error
    return Requirements(tuple(tags or DEFAULT_TAGS), keys, marker)


def require_digests(manifest: bytes | None, digests: Mapping[str, bytes]) -> None:
    """Hold files against the manifest that lies beside them.

    Args:
        manifest: Content of SHA256SUMS; None where there is none.
        digests: The SHA-256 (32 bytes) of each file, by path.

    Raises:
        SyncError: A file's content is not what its author wrote down.
    """
    if manifest is None:
        return
    try:
        finding = altered(read_manifest(manifest), digests)
    except ManifestError:
        return  # The proof of the whole says so, with its own reason.
    if finding is not None:
        raise SyncError(
            ExitCode.REJECTED, finding.message, reason=finding.reason, path=finding.object
        )
