"""The operator's process: settings from flags and environment, then everything until it must end."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import kopf
import structlog
import typer
from kopf._core.engines.peering import Identity
from kubernetes.aio import client as kube
from kubernetes.aio import config as kube_config
from structlog.typing import Processor

from slipway_operator import metrics
from slipway_operator.api.crd import custom_resource_definition
from slipway_operator.api.names import GROUP
from slipway_operator.api.reference import page
from slipway_operator.cluster.client import MODELS, Client
from slipway_operator.cluster.fencing import fenced_api
from slipway_operator.cluster.lease import Leadership, LeadershipLostError
from slipway_operator.handlers.kopf_events import registry_for, settings_for
from slipway_operator.health import application, serve
from slipway_operator.notifications import receiver as webhook
from slipway_operator.reconcile.loop import Loop
from slipway_operator.reconcile.reconciler import Reconciler
from slipway_operator.reconcile.sources.access import Accesses
from slipway_operator.reconcile.sources.errors import Installation
from slipway_operator.reconcile.sources.identities import Identities
from slipway_operator.reconcile.sources.referenced_objects import Lookup
from slipway_operator.reconcile.sources.sources import Sources
from slipway_operator.reconcile.sources.volume_watchers import Watchers
from slipway_operator.rendering.settings import RenderSettings
from slipway_sync.stores import AddressPolicy, SourceError, StoreOptions
from slipway_sync.stores.egress.clients import route

_log = structlog.get_logger()
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where notifications of stores are taken.

    Attributes:
        pod_ip: Where other replicas reach this one; empty where there are none.
    """

    port: int
    token_file: Path
    pod_ip: str = ""

    @property
    def address(self) -> str:
        """The URL for the other replicas."""
        host = f"[{self.pod_ip}]" if ":" in self.pod_ip else self.pod_ip
        return f"http://{host}:{self.port}" if host else ""


@dataclass(frozen=True, slots=True)
class Options:
    """What the process was started with."""

    namespaces: tuple[str, ...]
    installation: Installation
    render: RenderSettings
    lease: str
    port: int
    webhook: Webhook | None = None


def _utc_now() -> datetime:
    return datetime.now(UTC)


def configure_logging(level: str) -> None:
    """One JSON object a line, from our own code and from libraries."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # kopf tells of every event it hands over; ours to tell is what is made of them.
    for noisy in ("aiohttp", "asyncio", "kopf.objects", "kubernetes", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


async def _api_settings() -> kube.Configuration:
    configuration = kube.Configuration()
    try:
        kube_config.load_incluster_config(client_configuration=configuration)
    except kube_config.ConfigException:
        await kube_config.load_kube_config(client_configuration=configuration)
    return configuration


async def run(options: Options) -> None:
    """Run until a signal, or until something that must not fail has failed.

    Raises:
        LeadershipLostError: Another replica may write from now on.
        Exception: A watch has died; a new process starts with clean ones.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    started = asyncio.Event()
    identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    configuration = await _api_settings()
    async with kube.ApiClient(configuration) as api:
        hook = options.webhook
        leadership = Leadership(
            Client(api),
            options.installation.namespace,
            options.lease,
            identity,
            address=hook.address if hook else "",
        )
        writing = await fenced_api(configuration, leadership.fence)
        client = Client(api, writing, leadership.fence)
        if not await client.knows(MODELS):
            raise SystemExit(
                f"the API server does not know {MODELS.plural}.{GROUP}: install the "
                "CustomResourceDefinition (helm does, unless crds.install is false)"
            )
        lookup = Lookup(client, options.installation)
        surroundings = os.environ if options.render.ambient_identity else None
        identities = Identities(client, lookup, options.installation, surroundings)
        accesses = Accesses(lookup, identities, _store_options(options.render))
        sources = Sources(accesses, Watchers(client, _utc_now), _utc_now, random.random)
        reconciler = Reconciler(
            client, sources, options.render, identity, _utc_now, options.namespaces
        )
        work = Loop(client, reconciler, sources, options.namespaces)
        alive = lambda: work.works and not leadership.lost  # noqa: E731
        runners = [await serve(application(alive, started.is_set), options.port)]
        if hook is not None:
            around = webhook.Surroundings(
                webhook.token_in(hook.token_file),
                leadership.held.is_set,
                lambda: leadership.leader,
                work.notified,
            )
            runners.append(await serve(webhook.application(around), hook.port))
        try:
            await _until_stopped(work, leadership, options, identity, stop, started)
        finally:
            await leadership.release()
            await writing.close()
            for runner in runners:
                await runner.cleanup()


async def _until_stopped(
    work: Loop,
    leadership: Leadership,
    options: Options,
    identity: str,
    stop: asyncio.Event,
    started: asyncio.Event,
) -> None:
    """Watch always; work while leading; end when any part ends."""

    async def lead() -> None:
        await leadership.held.wait()
        metrics.LEADER.set(1)
        await work.run()

    async def keep() -> None:
        await leadership.acquire()
        try:
            await leadership.keep()
        except LeadershipLostError as error:
            # Another replica may write from now on. Whatever the tasks of this process think, and whether
            # or not they let themselves be cancelled: it ends here.
            _log.error("leadership lost, ending", error=str(error))
            logging.shutdown()
            os._exit(1)

    watches = kopf.operator(
        registry=registry_for(work),
        settings=settings_for(),
        standalone=True,
        # Otherwise it asks the system for the user's name, and a pod's user may have none.
        identity=Identity(identity),
        clusterwide=not options.namespaces,
        namespaces=options.namespaces,
        ready_flag=started,
        stop_flag=stop,
    )
    parts = {
        asyncio.create_task(watches, name="watches"),
        asyncio.create_task(lead(), name="lead"),
        asyncio.create_task(keep(), name="keep"),
        asyncio.create_task(stop.wait(), name="stop"),
    }
    done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    for part in parts - done:
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)
    for part in done:
        part.result()


def _store_options(settings: RenderSettings) -> StoreOptions:
    """What the installation decides for all sources."""
    return StoreOptions(
        addresses=AddressPolicy.allowing(settings.allowed_networks),
        proxy=settings.proxy,
        no_proxy=settings.no_proxy,
    )


def _check(settings: RenderSettings) -> None:
    """Refuse at the start what every source would stumble over.

    Raises:
        BadParameter: A network or the proxy cannot be.
    """
    try:
        route(_store_options(settings))
    except ValueError as wrong:
        raise typer.BadParameter(f"--allow-network: {wrong}") from wrong
    except SourceError as wrong:
        raise typer.BadParameter(f"--proxy, --no-proxy: {wrong}") from wrong


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
            help="Let sources lie in this network although it is link-local or the like; "
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
    _check(render)
    options = Options(
        namespaces=tuple(namespace or ()),
        installation=Installation(
            operator_namespace, service_account, credentials_role, identities_role
        ),
        render=render,
        lease=lease,
        port=port,
        webhook=Webhook(webhook_port, webhook_token_file, pod_ip) if webhook_token_file else None,
    )
    asyncio.run(run(options))


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
