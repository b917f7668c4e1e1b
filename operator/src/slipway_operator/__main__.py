"""The command line: flags and environment variables into settings, and what is generated from the API."""

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer

from slipway_operator.api.schema.crd import custom_resource_definition
from slipway_operator.api.schema.reference import page
from slipway_operator.app.logs import configure_logging
from slipway_operator.app.process import run
from slipway_operator.app.settings import (
    OperatorSettings,
    ReceiverSettings,
    SettingsError,
    StatusPageSettings,
    check,
)
from slipway_operator.reconcile.sources.errors import Installation
from slipway_operator.rendering.settings import RenderSettings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command("run")
def run_command(
    server_image: Annotated[str, typer.Option(envvar="SLIPWAY_SERVER_IMAGE")],
    sync_image: Annotated[str, typer.Option(envvar="SLIPWAY_SYNC_IMAGE")],
    namespace: Annotated[
        list[str] | None, typer.Option(help="Watch this namespace only; may be repeated.")
    ] = None,
    image_pull_policy: Annotated[
        str, typer.Option(envvar="SLIPWAY_IMAGE_PULL_POLICY")
    ] = "IfNotPresent",
    operator_namespace: Annotated[str, typer.Option(envvar="POD_NAMESPACE")] = "slipway-system",
    service_account: Annotated[
        str, typer.Option(envvar="POD_SERVICE_ACCOUNT")
    ] = "slipway-operator",
    credentials_role: Annotated[
        str, typer.Option(envvar="SLIPWAY_CREDENTIALS_ROLE")
    ] = "slipway-credentials",
    identities_role: Annotated[
        str, typer.Option(envvar="SLIPWAY_IDENTITIES_ROLE")
    ] = "slipway-identities",
    allow_network: Annotated[
        list[str] | None,
        typer.Option(
            help="Let sources lie in this network although it is loopback, link-local or the like; "
            "may be repeated."
        ),
    ] = None,
    proxy: Annotated[
        str, typer.Option(help="http://HOST[:PORT] on the way to sources that name none.")
    ] = "",
    no_proxy: Annotated[
        list[str] | None,
        typer.Option(help="Reach this host, .suffix or network without a proxy; may be repeated."),
    ] = None,
    allow_ambient_identity: Annotated[  # noqa: FBT002 (a flag of the command line)
        bool,
        typer.Option(help="Let Models be read with what the pods' surroundings give."),
    ] = False,
    lease: Annotated[str, typer.Option(help="Name of the Lease.")] = "slipway-operator",
    port: Annotated[int, typer.Option(help="Of /livez, /readyz and /metrics.")] = 8080,
    webhook_port: Annotated[
        int, typer.Option(help="Of /v1/notifications, with --webhook-token-file.")
    ] = 8090,
    webhook_token_file: Annotated[
        Path | None,
        typer.Option(help="Take notifications of stores from those who show what it holds."),
    ] = None,
    ui_port: Annotated[int, typer.Option(help="Of the status page /ui/; 0 for none.")] = 0,
    ui_address: Annotated[
        str, typer.Option(help="Address that the status page listens on; empty for all.")
    ] = "127.0.0.1",
    ui_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Host name under which browsers ask for the status page, unless it is localhost, an "
            "address or a name inside the cluster; may be repeated."
        ),
    ] = None,
    pod_ip: Annotated[str, typer.Option(envvar="POD_IP", help="Of this replica.")] = "",
    log_level: Annotated[str, typer.Option(envvar="SLIPWAY_LOG_LEVEL")] = "info",
) -> None:
    """Run the operator."""
    configure_logging(log_level)
    render = RenderSettings(
        server_image,
        sync_image,
        image_pull_policy,
        tuple(allow_network or ()),
        proxy=proxy,
        no_proxy=tuple(no_proxy or ()),
        ambient_identity=allow_ambient_identity,
    )
    try:
        check(render)
    except SettingsError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    settings = OperatorSettings(
        namespaces=tuple(namespace or ()),
        installation=Installation(
            operator_namespace, service_account, credentials_role, identities_role
        ),
        render=render,
        lease=lease,
        port=port,
        receiver=ReceiverSettings(webhook_port, webhook_token_file, pod_ip)
        if webhook_token_file
        else None,
        status_page=StatusPageSettings(ui_port, ui_address, tuple(ui_host or ()))
        if ui_port
        else None,
    )
    asyncio.run(run(settings))


@app.command("crd")
def crd_command() -> None:
    """Print the CustomResourceDefinition."""
    import yaml  # noqa: PLC0415 (only this command needs it)

    with contextlib.suppress(BrokenPipeError):
        typer.echo(
            yaml.safe_dump(custom_resource_definition(), sort_keys=False, width=100), nl=False
        )


@app.command("reference")
def reference_command() -> None:
    """Print the reference page of the Model resource."""
    typer.echo(page(), nl=False)


def main() -> None:
    """Console entry point."""
    app()


if __name__ == "__main__":
    main()
