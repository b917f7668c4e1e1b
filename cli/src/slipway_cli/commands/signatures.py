"""`slipway signatures`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slipway_cli.commands import options
from slipway_cli.errors import UsageError
from slipway_cli.output import Format, as_json, columns, resolved, write

if TYPE_CHECKING:
    from slipway_cli.exports.graph_signatures import MetaGraph
    from slipway_cli.serving.address import ModelAddress
    from slipway_cli.serving.signature import Signatures


def signatures_command(
    target: Annotated[
        str,
        typer.Argument(
            help="Directory or URI (s3://, gs://, az://, https://) of an export, or of a model's base path; or a "
            "model on a server, http://HOST:PORT/v1/models/NAME or grpc://…, a version of it with /versions/N.",
            metavar="DIR|URL",
        ),
    ],
    signature: Annotated[
        str,
        typer.Option(
            "--signature",
            metavar="NAME",
            help="Show this signature only.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag",
            metavar="TAG",
            help="Show the graph with these tags only; may be repeated.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    output: options.OutputFormat = None,
    header: options.Headers = None,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 60.0,
    endpoint: options.Endpoint = "",
    region: options.Region = "",
) -> None:
    """Show the signatures of an export, or of a model on a server."""
    from slipway_cli.exports.graph_signatures import MetaGraph
    from slipway_cli.exports.location import Access
    from slipway_cli.serving.address import model_address
    from slipway_cli.serving.client import Connection, open_client

    served = model_address(target)
    if served is not None:
        with open_client(served, Connection(timeout, options.headers(header), ca_file)) as client:
            version, found = client.signatures()
        where = _served(served, version)
        graphs: tuple[MetaGraph, ...] = (MetaGraph((), "", found),)
    elif target.startswith(("grpc://", "grpcs://")):
        raise UsageError(f"{target} names no model: write {target.rstrip('/')}/v1/models/NAME")
    else:
        access = Access(endpoint, region, ca_file, options.environment())
        where, version, graphs = asyncio.run(_exported(target, access))
    graphs = tuple(one for one in graphs if not tag or set(tag) == set(one.tags))
    if not graphs:
        raise UsageError(f"{where} has no graph with exactly the tags {', '.join(tag or ())}")
    shown = [(graph, _shown(graph.signatures, signature, where)) for graph in graphs]
    if resolved(output) is Format.JSON:
        write(as_json(_json(where, version, shown)))
        return
    write(where)
    for graph, signatures in shown:
        write(_text(graph, signatures))


async def _exported(target: str, access: Any) -> tuple[str, int | None, tuple[MetaGraph, ...]]:
    from slipway_cli.exports.graph_signatures import read_meta_graphs
    from slipway_cli.exports.location import locate

    location = await locate(target, access)
    return location.where, location.version, await read_meta_graphs(location)


def _served(model: ModelAddress, version: int | None) -> str:
    if model.version is not None or version is None:
        return str(model)
    return f"{model}: version {version}"


def _shown(signatures: Signatures, key: str, where: str) -> Signatures:
    from slipway_cli.serving.signature import chosen

    return dict([chosen(signatures, key, where)]) if key else signatures


def _json(
    where: str, version: int | None, shown: Sequence[tuple[MetaGraph, Signatures]]
) -> dict[str, Any]:
    return {
        "where": where,
        "version": version,
        "graphs": [
            {
                "tags": list(graph.tags),
                "tensorflow": graph.tensorflow,
                "signatures": {key: one.as_json() for key, one in signatures.items()},
            }
            for graph, signatures in shown
        ],
    }


def _text(graph: MetaGraph, signatures: Signatures) -> str:
    lines = []
    if graph.tags or graph.tensorflow:
        writer = f", written by TensorFlow {graph.tensorflow}" if graph.tensorflow else ""
        lines.append(f"tags: {', '.join(graph.tags) or 'none'}{writer}")
    for key, one in signatures.items():
        lines += ["", f"{key} ({one.method})" if one.method else key]
        cells = [
            [what if at == 0 else "", name, spec.describe()]
            for what, specs in (("inputs", one.inputs), ("outputs", one.outputs))
            for at, (name, spec) in enumerate(specs.items())
        ]
        lines.append(columns((), cells, "  "))
    if not signatures:
        lines.append("no signatures: no client can ask it anything")
    return "\n".join(lines)
