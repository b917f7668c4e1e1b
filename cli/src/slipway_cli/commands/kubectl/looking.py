"""`kubectl slipway status` and `history`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slipway_cli.commands.kubectl import options
from slipway_cli.errors import CliError
from slipway_cli.output import Format, as_json, note, write

if TYPE_CHECKING:
    from slipway_cli.rollout.cluster import Cluster


def status(
    name: options.Name,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            "-w",
            help="Go on showing it: a live view on a terminal, a line for each change in a pipe.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    output: options.Output = Format.TABLE,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Show how far a rollout is."""
    from slipway_cli.rollout import view

    cluster = options.cluster(namespace, context, kubeconfig)
    if watch:
        _watch(cluster, name, output)
        return
    model = cluster.model(name)
    if output is Format.JSON:
        write(as_json(view.as_json(model)))
    else:
        write(view.describe(model, datetime.now(UTC)))


def history(
    name: options.Name,
    output: options.Output = Format.TABLE,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Show the transitions that the operator remembers."""
    from slipway_cli.rollout import view

    entries = view.history(options.cluster(namespace, context, kubeconfig).model(name))
    if output is Format.JSON:
        write(as_json(list(entries)))
    elif entries:
        write(view.history_table(entries, datetime.now(UTC)))
    else:
        note(f"{name} has no transitions behind it")


def _watch(cluster: Cluster, name: str, output: Format) -> None:
    from slipway_cli.rollout import view

    if output is Format.TABLE and sys.stdout.isatty():
        _live(cluster, name)
        return
    before: Any = None
    for model in cluster.changes(name):
        shown = (
            as_json(view.as_json(model), indent=0) if output is Format.JSON else view.line(model)
        )
        if shown != before:
            write(shown)
            sys.stdout.flush()
        before = shown
    raise CliError(f"{name} was deleted")


def _live(cluster: Cluster, name: str) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from slipway_cli.rollout import view

    shown: dict[str, Any] = {}

    def now() -> Text:
        return Text(
            view.describe(shown["model"], datetime.now(UTC)), no_wrap=True, overflow="ellipsis"
        )

    changes = cluster.changes(name)
    shown["model"] = next(changes)
    # Drawn anew twice a second, for the ages in it.
    with Live(get_renderable=now, console=Console(), refresh_per_second=2):
        for model in changes:
            shown["model"] = model
    raise CliError(f"{name} was deleted")
