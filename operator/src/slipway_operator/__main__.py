"""The command line: flags and environment variables into settings, and what is generated from the API.

What a command needs is imported when it runs, so that help and completion are there at once.
"""

import contextlib
import os
import sys
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.exceptions import TyperException

from slipway_operator.app.exits import ExitCode, StartError

_PROGRAM: Final = "slipway-operator"
_IMAGES: Final = "Images"
_INSTALLATION: Final = "Names of the installation"
_SOURCES: Final = "Sources"
_PROCESS: Final = "Process"
_STATUS_PAGE: Final = "Status page"

_LEVELS: Final = ("debug", "info", "warning", "error")
_USUAL: Final = """\b
  [dim]# run beside a cluster, with the kubeconfig of this shell[/dim]
  slipway-operator run --server-image=slipway-server:0.1.0 --sync-image=slipway-sync:0.1.0
  [dim]# for one namespace, with more to read in the log[/dim]
  slipway-operator run --server-image=… --sync-image=… --namespace=models --log-level=debug
  [dim]# install the CustomResourceDefinition[/dim]
  slipway-operator crd | kubectl apply --server-side -f -
"""

app = typer.Typer(
    name=_PROGRAM,
    help=f"{_USUAL}\nBring versions of TensorFlow models into service on Kubernetes.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 (a callback of the command line)
    if asked:
        sys.stdout.write(f"{_PROGRAM} {version('slipway-operator')}\n")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[  # noqa: FBT002 (a flag of the command line)
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


@app.command("run")
def run_command(
    server_image: Annotated[
        str,
        typer.Option(
            envvar="SLIPWAY_SERVER_IMAGE",
            rich_help_panel=_IMAGES,
            help="Image of the model server in the pods of Models.",
        ),
    ],
    sync_image: Annotated[
        str,
        typer.Option(
            envvar="SLIPWAY_SYNC_IMAGE",
            rich_help_panel=_IMAGES,
            help="Image of the sync agent in the pods of Models.",
        ),
    ],
    namespace: Annotated[
        list[str] | None,
        typer.Option(rich_help_panel=_PROCESS, help="Watch this namespace only; may be repeated."),
    ] = None,
    image_pull_policy: Annotated[
        str,
        typer.Option(
            envvar="SLIPWAY_IMAGE_PULL_POLICY",
            rich_help_panel=_IMAGES,
            help="Pull policy of both: Always, IfNotPresent or Never.",
        ),
    ] = "IfNotPresent",
    operator_namespace: Annotated[
        str,
        typer.Option(
            envvar="POD_NAMESPACE",
            rich_help_panel=_INSTALLATION,
            help="Namespace of the operator and of its Lease.",
        ),
    ] = "slipway-system",
    service_account: Annotated[
        str,
        typer.Option(
            envvar="POD_SERVICE_ACCOUNT",
            rich_help_panel=_INSTALLATION,
            help="ServiceAccount of the operator, named in messages about permissions.",
        ),
    ] = "slipway-operator",
    credentials_role: Annotated[
        str,
        typer.Option(
            envvar="SLIPWAY_CREDENTIALS_ROLE",
            rich_help_panel=_INSTALLATION,
            help="ClusterRole that lets it read credentials, named in messages.",
        ),
    ] = "slipway-credentials",
    identities_role: Annotated[
        str,
        typer.Option(
            envvar="SLIPWAY_IDENTITIES_ROLE",
            rich_help_panel=_INSTALLATION,
            help="ClusterRole that lets it use cloud identities, named in messages.",
        ),
    ] = "slipway-identities",
    allow_network: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=_SOURCES,
            help="Let sources lie in this network although it is loopback, link-local or the like; "
            "may be repeated.",
        ),
    ] = None,
    proxy: Annotated[
        str,
        typer.Option(
            rich_help_panel=_SOURCES,
            help="http://HOST[:PORT] on the way to sources that name none.".replace("[", "\\["),
        ),
    ] = "",
    no_proxy: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=_SOURCES,
            help="Reach this host, .suffix or network without a proxy; may be repeated.",
        ),
    ] = None,
    allow_ambient_identity: Annotated[  # noqa: FBT002 (a flag of the command line)
        bool,
        typer.Option(
            rich_help_panel=_SOURCES,
            help="Let Models be read with what the pods' surroundings give.",
        ),
    ] = False,
    lease: Annotated[
        str, typer.Option(rich_help_panel=_INSTALLATION, help="Name of the Lease.")
    ] = "slipway-operator",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, rich_help_panel=_PROCESS, help="Port of /livez, /readyz and /metrics."
        ),
    ] = 8080,
    webhook_port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            rich_help_panel=_PROCESS,
            help="Port of /v1/notifications, with --webhook-token-file.",
        ),
    ] = 8090,
    webhook_token_file: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_PROCESS,
            help="Take notifications of stores from those who show what it holds.",
        ),
    ] = None,
    ui_port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            rich_help_panel=_STATUS_PAGE,
            help="Port of the status page /ui/; 0 for none.",
        ),
    ] = 0,
    ui_address: Annotated[
        str,
        typer.Option(
            rich_help_panel=_STATUS_PAGE,
            help="Address that the status page listens on; empty for all.",
        ),
    ] = "127.0.0.1",
    ui_host: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=_STATUS_PAGE,
            help="Host name under which browsers ask for the status page, unless it is localhost, an "
            "address or a name inside the cluster; may be repeated.",
        ),
    ] = None,
    pod_ip: Annotated[
        str,
        typer.Option(
            envvar="POD_IP",
            rich_help_panel=_PROCESS,
            help="Address at which other replicas reach this one.",
        ),
    ] = "",
    log_level: Annotated[
        str,
        typer.Option(
            envvar="SLIPWAY_LOG_LEVEL",
            rich_help_panel=_PROCESS,
            help=f"Least important lines to log: {', '.join(_LEVELS)}.",
        ),
    ] = "info",
) -> None:
    """Run the operator, in a pod or beside a cluster."""
    import asyncio  # noqa: PLC0415 (see above)

    from slipway_operator.app.logs import configure_logging  # noqa: PLC0415
    from slipway_operator.app.process import run  # noqa: PLC0415
    from slipway_operator.app.settings import (  # noqa: PLC0415
        OperatorSettings,
        ReceiverSettings,
        SettingsError,
        StatusPageSettings,
        check,
    )
    from slipway_operator.reconcile.sources.errors import Installation  # noqa: PLC0415
    from slipway_operator.rendering.settings import RenderSettings  # noqa: PLC0415

    if log_level.lower() not in _LEVELS:
        raise typer.BadParameter(f"--log-level={log_level} must be one of {', '.join(_LEVELS)}")
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

    from slipway_operator.api.schema.crd import custom_resource_definition  # noqa: PLC0415

    with contextlib.suppress(BrokenPipeError):
        typer.echo(
            yaml.safe_dump(custom_resource_definition(), sort_keys=False, width=100), nl=False
        )


@app.command("reference")
def reference_command() -> None:
    """Print the reference page of the Model resource."""
    from slipway_operator.api.schema.reference import page  # noqa: PLC0415 (see above)

    typer.echo(page(), nl=False)


def main() -> NoReturn:
    """Run the command line and end the process with one of ExitCode."""
    code = _outcome()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.flush()
    # The threads of the object store library may still answer to a loop that is gone. Met by them, an interpreter that
    # is being taken down aborts, and another exit code would be reported.
    os._exit(code)


def _outcome() -> int:
    try:
        code = app(prog_name=_PROGRAM, standalone_mode=False)
    except StartError as error:
        return _failed(str(error), error.code)
    except TyperException as error:
        # Without any argument, the help is printed, and there is nothing to say.
        return _failed(_usage(error), ExitCode.USAGE) if error.format_message() else ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001 (the traceback of a fault goes where all logs go, and the process ends)
        import structlog  # noqa: PLC0415 (see above)

        structlog.get_logger().exception("failed, exiting")
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.STOPPED


def _failed(sentence: str, code: ExitCode) -> int:
    sys.stderr.write(f"{_PROGRAM}: {sentence}\n")
    return code


def _usage(error: TyperException) -> str:
    """What is wrong with the command line, and where help is."""
    message = error.format_message().rstrip(".")
    context: Any = getattr(error, "ctx", None)
    option: str | None = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        message = f"there is no option {option}"
        known = [name for param in context.command.params for name in param.opts] if context else []
        if near := get_close_matches(option, known, 1, 0.5):
            return f"{message}: did you mean {near[0]}?"
    if message.endswith("?") or context is None:
        return message
    return f"{message}: see {context.command_path} --help"


if __name__ == "__main__":
    main()
