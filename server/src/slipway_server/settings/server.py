"""Flags as one typed, checked value. Pure."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipway_server.errors import invalid_argument
from slipway_server.servables.tensorflow.threads import ThreadRule, read_rule
from slipway_server.settings.model_management import (
    ModelManagementSettings,
    absolute_paths,
    model_management_settings,
)
from slipway_server.settings.request_memory import RequestMemory, body_memory, request_memory

NATIVE: Final = "native"

_AGE_SHARE_OF_DRAIN = 1.2
"""gRPC recycles a connection at its age give or take a tenth; the drain must outlast that with room to spare."""

_THREADS_WHEN_BATCHING = 256
"""A request that waits for its batch keeps a thread: with fewer threads than a batch has rows, none would ever fill."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator of the server asked for. Times are in seconds."""

    front: str
    port: int
    socket_path: str
    socket_mode: int | None
    rest_port: int
    rest_threads: int
    rest_timeout: float
    rest_max_body: int
    rest_max_bodies: int
    rest_max_decompressed: int
    rest_max_values: int
    rest_max_head: int
    rest_max_depth: int
    rest_receive_timeout: float
    rest_max_connections: int
    health_port: int
    profiler_port: int
    cors: bool
    max_inflight: int
    rpc_threads: int
    rpc_memory: RequestMemory
    rpc_max_streams: int
    rpc_max_connections: int
    ssl_config_file: str
    batching: bool
    batching_parameters: str
    batching_parameters_file: str
    batching_per_model: bool
    monitoring_config_file: str
    log_level: str
    access_log: str
    access_log_sampling: float
    request_log_max_bytes: int
    channel_arguments: dict[str, int | str]
    max_connection_age: float
    max_connection_age_grace: float
    model_management: ModelManagementSettings
    tags: frozenset[str]
    intra_op_threads: int
    inter_op_threads: int
    gpu_memory_fraction: float
    session_config_file: str
    xla_cpu: bool
    xla_gpu: bool
    mixed_precision: str
    threads: ThreadRule
    flush_caches: bool
    prefer_tflite: bool
    warm_up_iterations: int
    checks: bool
    tflite_interpreters: int
    tensor_content: bool
    strict_types: bool
    load_timeout: float
    isolated_load: bool
    isolated_load_memory: int
    isolated_load_gpu: bool
    trial_run: bool
    check_method_names: bool
    drain: float
    drain_least: float
    exit_on_failed_load: bool
    exit_after_load: bool
    termination_log: str
    landlock: bool
    landlock_paths: tuple[str, ...]


def settings(
    values: Mapping[str, Any],
    *,
    cpus: int,
    memory: int = 0,
    given: Collection[str] = frozenset(),
) -> Settings:
    """Check flag values and give them their form.

    Args:
        values: of all flags, by name.
        cpus: processors of this machine.
        memory: bytes that this container, or else this machine, has; 0 if unknown.
        given: names of the flags that were on the command line.

    Raises:
        ServingError: INVALID_ARGUMENT; the sentence says which flags contradict each other.
    """
    if not values["port"] and not values["grpc_socket_path"]:
        raise invalid_argument(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
        )
    models = model_management_settings(values, cpus=cpus)
    _check_batching(values)
    batching = values["enable_batching"]
    intra, inter = _parallelism(values)
    if values["use_alts_credentials"] and values["ssl_config_file"]:
        raise invalid_argument(
            "Only one of ALTS and SSL can be used: either server_options.use_alts_credentials must be false or "
            "server_options.ssl_config_file must be empty."
        )
    if values["access_log"] not in _ACCESS_LOGS:
        raise invalid_argument(
            f"--access_log={values['access_log']} must be one of {', '.join(_ACCESS_LOGS)}"
        )
    if values["log_level"] not in LOG_LEVELS:
        raise invalid_argument(
            f"--log_level={values['log_level']} must be one of {', '.join(LOG_LEVELS)}"
        )
    _check_bounds(values)
    bodies = body_memory(memory)
    rest = {
        "rest_api_max_body_bytes": bodies.body,
        "rest_api_max_inflight_bytes": bodies.bodies,
        "rest_api_max_decompressed_bytes": bodies.decompressed,
        "rest_api_max_json_values": bodies.values,
    }
    rest |= {name: values[name] for name in rest if name in given}
    return Settings(
        front=_front(values),
        port=values["port"],
        socket_path=values["grpc_socket_path"],
        socket_mode=_socket_mode(values["grpc_socket_mode"]),
        rest_port=values["rest_api_port"],
        rest_threads=_threads("rest_api_num_threads", values, given, batching=batching),
        rest_timeout=values["rest_api_timeout_in_ms"] / 1000,
        rest_max_body=rest["rest_api_max_body_bytes"],
        rest_max_bodies=rest["rest_api_max_inflight_bytes"],
        rest_max_decompressed=rest["rest_api_max_decompressed_bytes"],
        rest_max_values=rest["rest_api_max_json_values"],
        rest_max_head=values["rest_api_max_header_bytes"],
        rest_max_depth=values["rest_api_max_json_depth"],
        rest_receive_timeout=values["rest_api_receive_timeout_seconds"],
        rest_max_connections=values["rest_api_max_connections"],
        health_port=values["health_port"],
        profiler_port=values["profiler_port"] if values["enable_profiler"] else 0,
        cors=values["rest_api_enable_cors_support"],
        max_inflight=values["max_inflight_requests"],
        rpc_memory=request_memory(
            memory, values[_MESSAGE_FLAG] if _MESSAGE_FLAG in given else None
        ),
        rpc_max_streams=values["grpc_max_concurrent_streams"],
        rpc_max_connections=values["grpc_max_connections"],
        ssl_config_file=values["ssl_config_file"],
        rpc_threads=_threads("grpc_max_threads", values, given, batching=batching),
        batching=batching,
        batching_parameters=values["batching_parameters"],
        batching_parameters_file=values["batching_parameters_file"],
        batching_per_model=values["enable_per_model_batching_parameters"],
        monitoring_config_file=values["monitoring_config_file"],
        log_level=values["log_level"],
        access_log=values["access_log"],
        access_log_sampling=values["access_log_sampling"],
        request_log_max_bytes=values["request_log_max_file_bytes"],
        channel_arguments=_channel_arguments(values["grpc_channel_arguments"]),
        max_connection_age=connection_age(
            values["max_connection_age_seconds"], values["drain_seconds"]
        ),
        max_connection_age_grace=values["max_connection_age_grace_seconds"],
        model_management=models,
        tags=frozenset(tag for tag in str(values["saved_model_tags"]).split(",") if tag),
        intra_op_threads=intra,
        inter_op_threads=inter,
        gpu_memory_fraction=_share(values, "per_process_gpu_memory_fraction"),
        session_config_file=values["tensorflow_session_config_file"],
        xla_cpu=values["xla_cpu_compilation_enabled"],
        xla_gpu=values["xla_gpu_compilation_enabled"],
        mixed_precision=values["mixed_precision"],
        threads=read_rule(str(values["run_on_caller_thread"]), cpus),
        flush_caches=values["flush_filesystem_caches"],
        prefer_tflite=values["prefer_tflite_model"],
        warm_up_iterations=max(values["num_request_iterations_for_warmup"], 1)
        if values["enable_model_warmup"]
        else 0,
        checks=values["checks"],
        tflite_interpreters=max(values["num_tflite_pools"], 1)
        * max(values["num_tflite_interpreters_per_pool"], 1),
        tensor_content=values["enable_serialization_as_tensor_content"],
        strict_types=values["strict_types"],
        load_timeout=values["load_timeout_seconds"],
        isolated_load=_isolated(values),
        isolated_load_memory=values["isolated_load_memory_bytes"],
        isolated_load_gpu=values["isolated_load_gpu"],
        trial_run=_switch("trial_run", values, auto=not values["model_config_file"]),
        check_method_names=values["enable_signature_method_name_check"],
        drain=values["drain_seconds"],
        drain_least=min(values["drain_min_seconds"], values["drain_seconds"]),
        exit_on_failed_load=values["exit_on_failed_load"],
        exit_after_load=values["exit_after_load"],
        termination_log=values["termination_log"],
        landlock=values["landlock"],
        landlock_paths=absolute_paths(values, "landlock_paths"),
    )


def _front(values: Mapping[str, Any]) -> str:
    front = str(values["front"])
    if front not in {"python", NATIVE}:
        raise invalid_argument(f"--front={front} must be one of native, python")
    return front


LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_MESSAGE_FLAG: Final = "grpc_max_message_bytes"
_ACCESS_LOGS: Final = ("off", "errors", "all")
_DAY: Final = 86400.0
_INT32_MAX: Final = 2**31 - 1
_INT64_MAX: Final = 2**63 - 1
_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "port": (0, 65535),
    "rest_api_port": (0, 65535),
    "profiler_port": (0, 65535),
    "drain_seconds": (0, _DAY),
    "drain_min_seconds": (0, _DAY),
    "max_connection_age_seconds": (0, _DAY),
    "max_connection_age_grace_seconds": (0, _DAY),
    "rest_api_receive_timeout_seconds": (1, _DAY),
    "rest_api_max_header_bytes": (1024, _INT32_MAX),
    "rest_api_max_json_depth": (1, 1024),
    "rest_api_max_connections": (1, _INT32_MAX),
    "rest_api_max_body_bytes": (1, _INT64_MAX),
    "rest_api_max_decompressed_bytes": (1, _INT64_MAX),
    "rest_api_max_inflight_bytes": (1, _INT64_MAX),
    "rest_api_max_json_values": (1, _INT64_MAX),
    "load_timeout_seconds": (0, _DAY),
    "isolated_load_memory_bytes": (0, _INT64_MAX),
    "health_port": (0, 65535),
    "access_log_sampling": (0, 1),
    "request_log_max_file_bytes": (1, _INT64_MAX),
    "max_inflight_requests": (1, _INT32_MAX),
    _MESSAGE_FLAG: (0, _INT32_MAX),
    "grpc_max_concurrent_streams": (1, _INT32_MAX),
    "grpc_max_connections": (0, _INT32_MAX),
}


def _check_bounds(values: Mapping[str, Any]) -> None:
    for name, (low, high) in _BOUNDS.items():
        if not low <= values[name] <= high:  # also refuses NaN
            unit = " seconds" if name.endswith("_seconds") else ""
            raise invalid_argument(f"--{name} must be between {low:.0f} and {high:.0f}{unit}")


def _isolated(values: Mapping[str, Any]) -> bool:
    """Return whether versions are tried in a child process: by default where several may share the server."""
    auto = bool(values["model_config_file"]) and not values["landlock"]
    if (isolated := _switch("isolated_first_load", values, auto=auto)) and values["landlock"]:
        raise invalid_argument(
            "--landlock and --isolated_first_load=true exclude each other: TensorFlow reads in /proc about its own "
            "process, and what may be read is fixed before a child process is there"
        )
    return isolated


def _switch(name: str, values: Mapping[str, Any], *, auto: bool) -> bool:
    """Return what a flag of three values says, where `auto` stands for what suits the other flags."""
    asked = str(values[name])
    if asked not in {"true", "false", "auto"}:
        raise invalid_argument(f"--{name}={asked} must be one of auto, false, true")
    return asked == "true" or (asked == "auto" and auto)


def connection_age(asked: float, drain: float) -> float:
    """Return the age, in seconds, at which connections are recycled: never so old that a drain would not reach all.

    >>> connection_age(10, 12), connection_age(10, 6)
    (10, 5.0)
    """
    return min(asked, drain / _AGE_SHARE_OF_DRAIN) if drain > 0 else asked


def _share(values: Mapping[str, Any], name: str) -> float:
    share = float(values[name])
    if not 0 <= share < math.inf:  # above 1 the device's memory is oversubscribed; also refuses NaN
        raise invalid_argument(f"--{name} must be 0 or more")
    return share


def _check_batching(values: Mapping[str, Any]) -> None:
    for name in ("batching_parameters_file", "batching_parameters"):
        if values[name] and not values["enable_batching"]:
            raise invalid_argument(
                f"server_options.{name} is set without setting server_options.enable_batching to true."
            )
    if values["batching_parameters"] and values["batching_parameters_file"]:
        raise invalid_argument(
            "--batching_parameters and --batching_parameters_file exclude each other"
        )


def _threads(
    name: str, values: Mapping[str, Any], given: Collection[str], *, batching: bool
) -> int:
    if batching and name not in given:
        return max(int(values[name]), _THREADS_WHEN_BATCHING)
    return max(int(values[name]), 1)


def _parallelism(values: Mapping[str, Any]) -> tuple[int, int]:
    both = values["tensorflow_session_parallelism"]
    intra, inter = (
        values["tensorflow_intra_op_parallelism"],
        values["tensorflow_inter_op_parallelism"],
    )
    if both > 0 and intra > 0 and inter > 0:
        raise invalid_argument(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all."
        )
    # As in TensorFlow Serving: one of the two alone wins over the flag for both.
    return (intra, inter) if intra > 0 or inter > 0 else (both, both)


def _socket_mode(text: str) -> int | None:
    """Return permissions.

    >>> _socket_mode("0660") == 0o660
    True
    """
    if not text:
        return None
    if not re.fullmatch("[0-7]{1,4}", text):
        raise invalid_argument(f"--grpc_socket_mode={text} must be an octal number such as 0660")
    return int(text, 8)


def _channel_arguments(text: str) -> dict[str, int | str]:
    arguments: dict[str, int | str] = {}
    for pair in filter(None, text.split(",")):
        name, _, value = pair.partition("=")
        whole = re.fullmatch("-?[0-9]{1,10}", value, re.ASCII)
        # gRPC's integers have 32 bits; TensorFlow Serving passes what does not fit as a string.
        fits = whole is not None and -_INT32_MAX - 1 <= int(value) <= _INT32_MAX
        arguments[name] = int(value) if fits else value
    return arguments
