"""The verbs of `kubectl slipway`: what a person asks of a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from slipway_cli.commands.kubectl import options
from slipway_cli.errors import UsageError
from slipway_cli.output import Format, as_json, write

if TYPE_CHECKING:
    from slipway_cli.rollout.cluster import Cluster
    from slipway_cli.rollout.verbs import Verb


def promote(
    name: options.Name,
    version: options.Version = None,
    output: options.Output = Format.TABLE,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Skip all steps that are left of a rollout, and their pauses."""
    _ask("promote", name, options.cluster(namespace, context, kubeconfig), output, version)


def approve(
    name: options.Name,
    version: options.Version = None,
    step: Annotated[
        int | None,
        typer.Option(
            "--step",
            metavar="STEP",
            min=1,
            help="Last step to approve, the first is 1; default: the one that waits.",
            rich_help_panel=options.ROLLOUT,
        ),
    ] = None,
    output: options.Output = Format.TABLE,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """End the pause of a step that waits for a person."""
    _ask("approve", name, options.cluster(namespace, context, kubeconfig), output, version, step)


def abort(
    name: options.Name,
    version: options.Version = None,
    output: options.Output = Format.TABLE,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Give a transition up; what served before goes on."""
    _ask("abort", name, options.cluster(namespace, context, kubeconfig), output, version)


def retry(
    name: options.Name,
    version: options.Version = None,
    output: options.Output = Format.TABLE,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Try a version again that has failed, was rolled back or was aborted."""
    _ask("retry", name, options.cluster(namespace, context, kubeconfig), output, version)


def rollback(
    name: options.Name,
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            metavar="N",
            min=0,
            help="Version to serve; default: the one that served before.",
            rich_help_panel=options.ROLLOUT,
        ),
    ] = None,
    undo: Annotated[
        bool,
        typer.Option(
            "--undo",
            help="Lift the pin of an earlier rollback, so that newer versions are started again.",
            rich_help_panel=options.ROLLOUT,
        ),
    ] = False,
    output: options.Output = Format.TABLE,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Serve an earlier version, and stay with it until the pin is lifted."""
    if undo and to is not None:
        raise UsageError("--to and --undo contradict each other: give one of them")
    cluster = options.cluster(namespace, context, kubeconfig)
    if not undo:
        _ask("rollback", name, cluster, output, to)
        return
    from slipway_cli.rollout.verbs import Verb, pinned

    version = pinned(cluster.model(name))
    if not version:
        raise UsageError(f"{name} is pinned to no version: there is nothing to lift")
    cluster.annotate(name, {Verb.ROLLBACK.annotation: None})
    _told(name, Verb.ROLLBACK, "", f"no longer pinned to version {version}", output)


def _ask(
    verb_name: str,
    name: str,
    cluster: Cluster,
    output: Format,
    version: int | None,
    step: int | None = None,
) -> None:
    from slipway_cli.rollout.verbs import Verb, value_for

    verb = Verb(verb_name)
    value = value_for(verb, cluster.model(name), version, step)
    cluster.annotate(name, {verb.annotation: value})
    what, _, number = value.partition("/")
    more = f", up to step {number}" if verb is Verb.APPROVE else ""
    sentence = f"{verb.value} version {what}{more} asked for; kubectl slipway status {name} -w shows what comes of it"
    _told(name, verb, value, sentence, output)


def _told(name: str, verb: Verb, value: str, sentence: str, output: Format) -> None:
    if output is Format.JSON:
        write(as_json({"name": name, "annotation": verb.annotation, "value": value}))
    else:
        write(f"{name}: {sentence}")
