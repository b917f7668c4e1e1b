"""Which export a path or a URI means, and the store that it lies in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway_cli.errors import CliError, ExitCode, UnavailableError, UsageError
from slipway_sync.exports import version_directories
from slipway_sync.store_kinds import KINDS
from slipway_sync.stores import (
    AddressPolicy,
    LocalStore,
    SourceError,
    Store,
    StoreOptions,
    credential_names,
    open_store,
)

_EVERYWHERE = AddressPolicy.allowing(["0.0.0.0/0", "::/0"])
"""The person at the terminal may reach what the machine may reach, unlike the author of a Model."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a store is reached, beside what the environment says.

    Attributes:
        endpoint: URL of an S3-compatible store or an emulator, "" for the cloud's own.
        region: S3 region, "" for the environment's.
        ca_file: PEM certificates to trust beside the system's.
        environment: Where credentials are, under the names that a Model's Secret has for them.
    """

    endpoint: str = ""
    region: str = ""
    ca_file: Path | None = None
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """An export.

    Attributes:
        store: The directory above it.
        directory: Its own name there.
        where: Path or URI, for people.
        version: The number that its name is; None where it is none.
    """

    store: Store
    directory: str
    where: str
    version: int | None


def scheme_of(target: str) -> str:
    """Return the scheme of a URI, "" for a path.

    Raises:
        UsageError: Nobody knows that scheme.
    """
    scheme, separator, _ = target.partition("://")
    if not separator:
        return ""
    known = [*(name for kind in KINDS if kind.opener for name in kind.schemes), "file"]
    if scheme in known:
        return scheme
    if scheme == "pvc":
        raise UsageError(f"{target} is a volume of the cluster, which only its pods can read")
    near = get_close_matches(scheme, known, 1)
    hint = (
        f"did you mean {near[0]}://" if near else f"write a path, or one of {', '.join(known)}://"
    )
    raise UsageError(f"{target}: {scheme}:// is no kind of store; {hint}")


async def locate(target: str, access: Access) -> Location:
    """Find the export that a path or URI means: itself, or the highest version below it.

    Raises:
        CliError: There is none, or its store cannot be read.
    """
    shown = target.rstrip("/") or target
    target = target if scheme_of(target) else _directory(target)
    base, _, name = target.rstrip("/").rpartition("/")
    try:
        if _number(name) is None:
            children = await open_location(target, access).children()
            versions, _ = version_directories(children)
            if versions:
                highest = versions[-1]
                where = f"{shown}/{highest.name}"
                return Location(open_location(target, access), highest.name, where, highest.number)
        if base.endswith(("/", ":")):
            raise UsageError(f"{shown} has no version: its folders would be 1, 2, 3 …")
        return Location(open_location(base, access), name, shown, _number(name))
    except SourceError as error:
        raise of_source(error) from error


def _directory(target: str) -> str:
    path = Path(target).expanduser().resolve()
    if not path.is_dir():
        what = "is a file, not an export's directory" if path.exists() else "does not exist"
        raise UsageError(f"{target} {what}")
    return path.as_uri()


def open_location(uri: str, access: Access) -> Store:
    """Open a store with the credentials of the environment.

    Raises:
        UsageError: An option of it cannot be.
    """
    scheme = scheme_of(uri)
    if scheme == "file":
        # Also for paths that a URI's own form would spoil.
        return LocalStore(Path(_path(uri)))
    environment = access.environment or {}
    names = credential_names(uri)
    given = {name: environment[name] for name in names if environment.get(name)}
    bundle = None
    if access.ca_file is not None:
        try:
            bundle = access.ca_file.read_bytes()
        except OSError as error:
            raise UsageError(
                f"--ca-file {access.ca_file} cannot be read: {error.strerror}"
            ) from error
    endpoint = access.endpoint
    if scheme == "s3" and not endpoint:
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL", "")
    options = StoreOptions(
        endpoint=endpoint,
        region=access.region,
        credentials=given,
        ca_bundle=bundle,
        addresses=_EVERYWHERE,
    )
    try:
        return open_store(uri, options)
    except SourceError as error:
        raise of_source(error) from error


def of_source(error: SourceError) -> CliError:
    """Return what ends a command because of a store."""
    where = f"{error.path}: " if error.path and error.path not in str(error) else ""
    message = f"{where}{error}"
    if error.reason == "Unavailable":
        return UnavailableError(message)
    if error.reason == "InvalidSource":
        return UsageError(message)
    if error.reason == "AccessDenied":
        return CliError(f"{message}: are the credentials in the environment?", ExitCode.REFUSED)
    return CliError(message, ExitCode.REFUSED)


def _path(uri: str) -> str:
    return unquote(urlsplit(uri).path)


def _number(name: str) -> int | None:
    found, _ = version_directories([name])
    return found[0].number if found else None
