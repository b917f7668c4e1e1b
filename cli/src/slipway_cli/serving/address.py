"""Where a model is served: `http://HOST:PORT`, `grpc://HOST:PORT`, and which version of it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import quote, unquote, urlsplit

from typing_extensions import override

from slipway_cli.errors import UsageError

REST_SCHEMES = ("http", "https")
GRPC_SCHEMES = ("grpc", "grpcs")
SCHEMES = (*REST_SCHEMES, *GRPC_SCHEMES)
_PORTS = {"http": 80, "https": 443, "grpc": 8500, "grpcs": 443}
_LARGEST_PORT = 65535
_LARGEST_VERSION = 2**63 - 1
_MODEL_PATH = re.compile(
    r"(?P<prefix>.*?)/v1/models/(?P<model>[^/:]+)"
    r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?(?:/metadata|:predict)?/?"
)
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server.

    Attributes:
        scheme: One of SCHEMES; the last letter `s` means TLS.
        host: A name or an address; an IPv6 address in brackets.
        port: 1 to 65535.
        path: What stands before `/v1/models` in URLs, without a slash at its end; "" with gRPC.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    @property
    def grpc(self) -> bool:
        """Whether it is reached over gRPC."""
        return self.scheme in GRPC_SCHEMES

    @property
    def target(self) -> str:
        """`HOST:PORT`."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """A model on a server, and which version of it is asked.

    Attributes:
        server: The server.
        name: What clients call the model.
        version: One version; None for the one that the server chooses.
        label: A version label, in its stead; "" for none.
    """

    server: ServerAddress
    name: str
    version: int | None = None
    label: str = ""

    @override
    def __str__(self) -> str:
        which = "" if self.version is None else f" version {self.version}"
        which = f" label {self.label}" if self.label else which
        return f"model {self.name}{which} at {self.server}"

    @property
    def rest_path(self) -> str:
        """The path of its URL: `/v1/models/NAME/versions/3`."""
        path = f"{self.server.path}/v1/models/{quote(self.name, safe='')}"
        if self.label:
            return f"{path}/labels/{quote(self.label, safe='')}"
        return path if self.version is None else f"{path}/versions/{self.version}"


def server_address(text: str) -> ServerAddress:
    """Read the address of a server; `HOST:PORT` alone means REST.

    Raises:
        UsageError: It is none.

    >>> str(server_address("localhost:8501"))
    'http://localhost:8501'
    """
    scheme, separator, _ = text.partition("://")
    if not separator:
        return server_address(f"http://{text}")
    if scheme not in SCHEMES:
        near = get_close_matches(scheme, SCHEMES, 1)
        hint = (
            f"did you mean {near[0]}://" if near else "write http://HOST:PORT or grpc://HOST:PORT"
        )
        raise UsageError(f"--server {text}: {scheme}:// is no scheme of a model server; {hint}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError(
            f"--server {text}: the port is not a number from 1 to {_LARGEST_PORT}"
        ) from None
    host = parts.netloc.rpartition("@")[2]
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    if "@" in parts.netloc or not _HOST.fullmatch(host):
        raise UsageError(f"--server {text}: write SCHEME://HOST:PORT, without a user name")
    if port == 0:
        raise UsageError(f"--server {text}: the port is not a number from 1 to {_LARGEST_PORT}")
    path = parts.path.rstrip("/")
    if parts.query or parts.fragment or (path and scheme in GRPC_SCHEMES):
        raise UsageError(f"--server {text}: nothing may follow the port of such an address")
    return ServerAddress(scheme, host, port or _PORTS[scheme], path)


def model_address(text: str) -> ModelAddress | None:
    """Read `http://HOST:PORT/v1/models/NAME[/versions/N|/labels/L]`; None for any other URL.

    Raises:
        UsageError: It is of that kind, but wrong.
    """
    scheme, separator, _ = text.partition("://")
    if not separator or scheme not in SCHEMES:
        return None
    found = _MODEL_PATH.fullmatch(urlsplit(text).path)
    if found is None:
        return None
    server = server_address(text.partition("/v1/models/")[0])
    version = int(found["version"]) if found["version"] else None
    if version is not None and version > _LARGEST_VERSION:
        raise UsageError(f"{text}: {version} is larger than any version number")
    label = unquote(found["label"] or "")
    return ModelAddress(server, unquote(found["model"]), version, label)


def model_at(server: str, name: str, version: int | None, label: str) -> ModelAddress:
    """Put together what the options of a command say.

    Raises:
        UsageError: They contradict each other, or one of them cannot be.
    """
    if not name:
        raise UsageError("MODEL is empty: write the name that the server has for the model")
    if version is not None and label:
        raise UsageError("--version and --label name one version each: give one of them")
    whole = model_address(server)
    if whole is not None:
        raise UsageError(
            f"--server {server} names a model: give {whole.server}, and the model as MODEL"
        )
    return ModelAddress(server_address(server), name, version, label)
