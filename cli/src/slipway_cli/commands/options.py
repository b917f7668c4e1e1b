"""Options that several commands have, and what they become."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from slipway_cli.errors import UsageError
from slipway_cli.output import Format

SERVER = "Server"
INPUT = "Input"
OUTPUT = "Output"
STORE = "Object store"
CHECKS = "Checks"
PACE = "Pace"

Server = Annotated[
    str,
    typer.Option(
        "--server",
        "-s",
        metavar="URL",
        envvar="SLIPWAY_SERVER",
        help="Where the model is served: http://HOST:PORT (REST) or grpc://HOST:PORT; https:// and grpcs:// with TLS.",
        rich_help_panel=SERVER,
    ),
]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        metavar="N",
        min=0,
        help="Ask this version; default: the one that the server chooses.",
        rich_help_panel=SERVER,
    ),
]
Label = Annotated[
    str,
    typer.Option(
        "--label", metavar="LABEL", help="Ask the version with this label.", rich_help_panel=SERVER
    ),
]
SignatureName = Annotated[
    str,
    typer.Option(
        "--signature",
        metavar="NAME",
        help="Signature to call; default: serving_default.",
        rich_help_panel=SERVER,
    ),
]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        "-H",
        metavar="NAME: VALUE",
        help="Header (gRPC: metadata) NAME: VALUE of every request, such as an Authorization; may be repeated.",
        rich_help_panel=SERVER,
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        metavar="FILE",
        help="PEM file with the certificates to trust.",
        rich_help_panel=SERVER,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.001,
        help="Seconds for one request.",
        rich_help_panel=SERVER,
    ),
]
OutputFormat = Annotated[
    Format | None,
    typer.Option(
        "--output",
        "-o",
        metavar="table|json",
        help="Format of the result; default: a table on a terminal, JSON in a pipe.",
        rich_help_panel=OUTPUT,
    ),
]
Endpoint = Annotated[
    str,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Endpoint URL of an S3-compatible store or an emulator; default: AWS_ENDPOINT_URL.",
        rich_help_panel=STORE,
    ),
]
Region = Annotated[
    str,
    typer.Option(
        "--region", metavar="REGION", help="S3 region; default: AWS_REGION.", rich_help_panel=STORE
    ),
]

DEFAULT_SERVER = "http://localhost:8501"


def headers(given: Sequence[str] | None) -> Mapping[str, str]:
    """Read `NAME: VALUE`.

    Raises:
        UsageError: One of them is none.
    """
    found = {}
    for text in given or ():
        name, separator, value = text.partition(":")
        if not separator or not name.strip() or not text.isprintable():
            raise UsageError("--header: write NAME: VALUE")
        found[name.strip()] = value.strip()
    return found


def environment() -> Mapping[str, str]:
    """Return the environment, where credentials of stores are looked for."""
    return os.environ
