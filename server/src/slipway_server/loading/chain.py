"""The loader that the settings ask for: one for the server and for the child that loads a version first."""

import base64
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from slipway_server.batching.model import BatchObserver
from slipway_server.batching.native import NativeQueues
from slipway_server.batching.parameters import (
    BatchingParameters,
    parameters_from_text,
    parameters_without_file,
    read_parameters,
)
from slipway_server.core.managed_version import Loader
from slipway_server.loading.batching import BatchingLoader, BatchingRule
from slipway_server.loading.checks import CheckLoader
from slipway_server.loading.directory_lock import DirectoryLockLoader
from slipway_server.loading.sandbox.loader import SandboxLoader
from slipway_server.loading.sandbox.processes import SandboxSettings
from slipway_server.loading.timeout import TimeoutLoader
from slipway_server.loading.trial_run import TrialRunLoader
from slipway_server.loading.warmup import WarmUpLoader, WarmUpObserver, WarmUpRule
from slipway_server.servables.loader import ServableLoader
from slipway_server.servables.memory import free_memory
from slipway_server.servables.registry import FormatSettings, registered_formats
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.tensorflow.session_config import SessionSettings
from slipway_server.settings.server import Settings

_MIN_PARALLEL_SANDBOXES: Final = 2
"""One that hangs must not keep all other models waiting."""


def make_loader(
    settings: Settings,
    batches: Callable[[str, int], BatchObserver] | None = None,
    warm_ups: WarmUpObserver | None = None,
    native: NativeQueues | None = None,
) -> Loader[ServedModel]:
    """Return what loads, warms up, checks and unloads versions in this process.

    Args:
        settings: of the server.
        batches: of a model and a version: who is told of its batches.
        warm_ups: who is told of them.
        native: the queues of the versions that the extension module runs.

    Raises:
        ServingError: a file that the settings name cannot be used.
    """
    loader: Loader[ServedModel] = ServableLoader(
        registered_formats(_format_settings(settings)), flush_caches=settings.flush_caches
    )
    if settings.trial_run:
        loader = TrialRunLoader(loader)
    batching = (
        BatchingRule(batching_parameters(settings), settings.batching_per_model)
        if settings.batching
        else None
    )
    observer = batches or (lambda _model, _version: _NoObserver())
    loader = BatchingLoader(loader, batching, observer, native)
    if settings.warm_up_iterations:
        rule = WarmUpRule(settings.warm_up_iterations, check_methods=settings.check_method_names)
        loader = WarmUpLoader(loader, rule, warm_ups)
    if settings.checks:
        loader = CheckLoader(loader, check_methods=settings.check_method_names)
    return loader


def _format_settings(settings: Settings) -> FormatSettings:
    return FormatSettings(
        tags=settings.tags,
        session=SessionSettings(
            config_file=settings.session_config_file,
            intra_op_threads=settings.intra_op_threads,
            inter_op_threads=settings.inter_op_threads,
            gpu_memory_fraction=settings.gpu_memory_fraction,
            xla=settings.xla_cpu or settings.xla_gpu,
            mixed_precision=settings.mixed_precision,
        ),
        threads=settings.threads,
        lite_interpreters=settings.tflite_interpreters if settings.prefer_tflite else 0,
    )


def guarded(loader: Loader[ServedModel], settings: Settings) -> Loader[ServedModel]:
    """Add what keeps a bad version from harming the server: a limit of time, a first load in a child process.

    A version is held from before that, so that nobody removes it under the child.
    """
    if settings.load_timeout > 0:
        loader = TimeoutLoader(loader, settings.load_timeout)
    if settings.isolated_load:
        loader = SandboxLoader(loader, _sandbox_settings(settings), free_memory)
    return DirectoryLockLoader(loader)


def _sandbox_settings(settings: Settings) -> SandboxSettings:
    return SandboxSettings(
        command=(
            sys.executable,
            "-P",
            "-m",
            "slipway_server.loading.sandbox.child_main",
            str(os.getpid()),
        ),
        # The server reads the same files right after the child.
        payload=base64.b64encode(pickle.dumps(replace(settings, flush_caches=False))) + b"\n",
        environment=_environment(os.environ, sys.path, gpu=settings.isolated_load_gpu),
        timeout=settings.load_timeout,
        memory_bytes=settings.isolated_load_memory,
        parallel=max(_MIN_PARALLEL_SANDBOXES, os.cpu_count() or 1),
    )


def _environment(own: Mapping[str, str], path: list[str], *, gpu: bool) -> dict[str, str]:
    """Return the child's environment: modules are found where this process found them, GPUs only when asked for."""
    environment = {**own, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    if not gpu:
        # The server's own session holds most of a GPU's memory; two processes would fight for it.
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    return environment


def batching_parameters(settings: Settings) -> BatchingParameters:
    """Return the parameters that hold for all models.

    Raises:
        ServingError: they cannot be used.
    """
    if settings.batching_parameters_file:
        return read_parameters(settings.batching_parameters_file)
    if settings.batching_parameters:
        return parameters_from_text(settings.batching_parameters)
    return parameters_without_file()


class _NoObserver:
    def waiting(self) -> None: ...

    def ran(
        self,
        signature: str,
        requests: Sequence[int],
        waits: Sequence[float],
        size: int,
        callers: Sequence[object | None],
    ) -> None: ...

    def ran_alone(self, signature: str, rows: int, size: int) -> None: ...
