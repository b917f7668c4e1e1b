"""The process: assembled from its settings, then everything until it must end."""

import asyncio
import logging
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import kopf
import structlog
from aiohttp import web
from kopf._core.engines import peering
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from slipway_operator import metrics
from slipway_operator.app.exits import ExitCode, no_cluster, no_port
from slipway_operator.app.kinds import find_models, find_routes
from slipway_operator.app.settings import (
    OperatorSettings,
    ReceiverSettings,
    store_options,
)
from slipway_operator.cluster.client import Client
from slipway_operator.cluster.fencing import fenced_api
from slipway_operator.cluster.lease import Leadership, LeadershipLostError
from slipway_operator.handlers.kopf_events import ModelListener, registry_for, settings_for
from slipway_operator.health import application, serve
from slipway_operator.notifications import receiver
from slipway_operator.reconcile.loop import Loop
from slipway_operator.reconcile.reconciler import Reconciler
from slipway_operator.reconcile.sources.access import AccessResolver
from slipway_operator.reconcile.sources.identities import Identities
from slipway_operator.reconcile.sources.model_sources import ModelSources
from slipway_operator.reconcile.sources.referenced_objects import ReferencedObjects
from slipway_operator.reconcile.sources.volume_watchers import VolumeWatchers
from slipway_operator.status_page import application as status_page
from slipway_operator.status_page.board import Board

_log = structlog.get_logger()


async def run(settings: OperatorSettings) -> None:
    """Run until a signal, or until something that must not fail has failed.

    When the Lease is lost, the process ends here and at once, with exit code 1.

    Raises:
        StartError: There is no cluster to work for, or no port.
        Exception: A watch has died; a new process starts with clean ones.
    """
    stop = asyncio.Event()
    _handle_signals(stop)
    started = asyncio.Event()
    instance = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    configuration = await _api_configuration()
    async with kubernetes_client.ApiClient(configuration) as api:
        leadership = Leadership(
            Client(api),
            settings.installation.namespace,
            settings.lease,
            instance,
            address=settings.receiver.address if settings.receiver else "",
        )
        writing = await fenced_api(configuration, leadership.fence)
        client = Client(api, writing, leadership.fence)
        await find_models(client, configuration.host)
        # Those that are installed later are looked at when a Model is, and watched after the next start.
        routes = await find_routes(client, configuration.host, settings.namespaces)
        work = _loop(client, settings, instance)
        probes = application(lambda: work.alive and not leadership.lost, started.is_set)
        runners = [await _listening(serve(probes, settings.port), settings.port)]
        if settings.receiver is not None:
            runners.append(await _receive(settings.receiver, leadership, work))
        listeners: list[ModelListener] = []
        if (page := settings.status_page) is not None:
            board = Board(time.monotonic, by_namespace=bool(settings.namespaces))
            listeners.append(board.changed)
            served = status_page.application(board, page.hosts)
            runners.append(
                await _listening(status_page.serve(served, page.address, page.port), page.port)
            )
        watches = registry_for(work, routes, listeners)
        try:
            await _until_stopped(work, watches, leadership, settings, instance, stop, started)
        finally:
            await leadership.release()
            await writing.close()
            for runner in runners:
                await runner.cleanup()


def _handle_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, _interrupted, stop)


def _interrupted(stop: asyncio.Event) -> None:
    """Stop in order at the first Ctrl-C, and at once at the second."""
    if stop.is_set():
        _log.warning("interrupted again: ending at once")
        logging.shutdown()
        os._exit(ExitCode.INTERRUPTED)
    _log.info(
        "stopping",
        message="What is under way is finished and the Lease released; a second Ctrl-C ends at once",
    )
    stop.set()


async def _api_configuration() -> kubernetes_client.Configuration:
    configuration = kubernetes_client.Configuration()
    try:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
    except kubernetes_config.ConfigException:
        files = (os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)
        if not _any_exists(files):
            raise no_cluster(files, "there is no such file") from None
        try:
            await kubernetes_config.load_kube_config(client_configuration=configuration)
        except Exception as error:  # a file of somebody's, which the client reads as it comes
            raise no_cluster(files, str(error)) from error
    return configuration


def _any_exists(files: Iterable[str]) -> bool:
    return any(Path(file).expanduser().exists() for file in files if file)


async def _listening(served: Awaitable[web.AppRunner], port: int) -> web.AppRunner:
    """What serves, once it listens; StartError where it cannot."""
    try:
        return await served
    except OSError as error:
        raise no_port(port, error.strerror or str(error)) from error


def _loop(client: Client, settings: OperatorSettings, instance: str) -> Loop:
    """The reconciler with all it needs, and the schedules around it."""
    installation, render = settings.installation, settings.render
    objects = ReferencedObjects(client, installation)
    environment = os.environ if render.ambient_identity else None
    identities = Identities(client, objects, installation, environment)
    access = AccessResolver(objects, identities, store_options(render))
    sources = ModelSources(access, VolumeWatchers(client, _utc_now), _utc_now, random.random)
    reconciler = Reconciler(client, sources, render, instance, _utc_now, settings.namespaces)
    return Loop(client, reconciler, sources, settings.namespaces)


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def _receive(settings: ReceiverSettings, leadership: Leadership, work: Loop) -> web.AppRunner:
    """Serve the endpoint of notifications."""
    deps = receiver.ReceiverDeps(
        receiver.token_in(settings.token_file),
        leadership.held.is_set,
        lambda: leadership.leader,
        work.notified,
    )
    return await _listening(serve(receiver.application(deps), settings.port), settings.port)


async def _until_stopped(
    work: Loop,
    registry: kopf.OperatorRegistry,
    leadership: Leadership,
    settings: OperatorSettings,
    instance: str,
    stop: asyncio.Event,
    started: asyncio.Event,
) -> None:
    """Watch always; work while leading; end when any part ends."""

    async def keep() -> None:
        await leadership.acquire()
        try:
            await leadership.keep()
        except LeadershipLostError as error:
            # Another replica may write from now on. Whatever the tasks of this process think, and whether or
            # not they let themselves be cancelled: it ends here.
            _log.error("leadership lost, exiting", error=str(error))
            logging.shutdown()
            os._exit(1)

    async def work_while_leading() -> None:
        await leadership.held.wait()
        metrics.LEADER.set(1)
        await work.run()

    async def watch() -> None:
        others = asyncio.all_tasks()
        watches = await kopf.spawn_tasks(
            registry=registry,
            settings=settings_for(),
            standalone=True,
            # Otherwise it asks the system for the user's name, and a pod's user may have none.
            identity=peering.Identity(instance),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            ready_flag=started,
            stop_flag=stop,
        )
        _handle_signals(stop)  # kopf has taken them, and would not end at a second Ctrl-C.
        await kopf.run_tasks(watches, ignored=others)

    parts = {
        asyncio.create_task(watch(), name="watches"),
        asyncio.create_task(keep(), name="keep the Lease"),
        asyncio.create_task(work_while_leading(), name="work"),
        asyncio.create_task(stop.wait(), name="stop"),
    }
    done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    for part in parts - done:
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)
    for part in done:
        part.result()
