"""Options of `kubectl slipway`, and the cluster that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from slipway_cli.output import Format

if TYPE_CHECKING:
    from slipway_cli.rollout.cluster import Cluster

CLUSTER: Final = "Cluster"
ROLLOUT: Final = "Rollout"
OUTPUT: Final = "Output"

Name = Annotated[str, typer.Argument(help="Name of the Model.", metavar="NAME")]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAMESPACE",
        help="Namespace of the Model; default: that of the context.",
        rich_help_panel=CLUSTER,
    ),
]
Context = Annotated[
    str,
    typer.Option(
        "--context",
        metavar="CONTEXT",
        help="Context of the kubeconfig; default: the current one.",
        rich_help_panel=CLUSTER,
    ),
]
Kubeconfig = Annotated[
    str,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="Kubeconfig; default: KUBECONFIG, or ~/.kube/config.",
        rich_help_panel=CLUSTER,
    ),
]
Output = Annotated[
    Format,
    typer.Option(
        "--output",
        "-o",
        metavar="table|json",
        help="Format of the result.",
        rich_help_panel=OUTPUT,
    ),
]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        metavar="N",
        min=0,
        help="Version that is meant; default: the one on its way.",
        rich_help_panel=ROLLOUT,
    ),
]


def cluster(namespace: str, context: str, kubeconfig: str) -> Cluster:
    """Return the Models of a namespace; no request is made yet."""
    from slipway_cli.rollout.cluster import Cluster

    return Cluster(namespace, context, kubeconfig)
