"""Flags as one typed, checked value. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway_server.core.policies import POLICIES
from slipway_server.errors import invalid_argument

_AGE_SHARE_OF_DRAIN = 1.2
"""gRPC recycles a connection at its age give or take a tenth; the drain must outlast that with room to spare."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator of the server asked for. Times are in seconds."""

    port: int
    socket_path: str
    rest_port: int
    rest_threads: int
    rest_timeout: float
    rest_max_body: int
    rest_max_decompressed: int
    cors: bool
    rpc_threads: int
    channel_arguments: dict[str, int | str]
    max_connection_age: float
    model_name: str
    model_base_path: str
    model_config_file: str
    policy: str
    keep_last: bool
    poll_wait: float
    load_threads: int
    max_load_retries: int
    load_retry_interval: float
    tags: frozenset[str]
    intra_op_threads: int
    inter_op_threads: int
    gpu_memory_fraction: float
    tensor_content: bool
    drain: float
    exit_on_failed_load: bool
    termination_log: str


def settings(values: Mapping[str, Any], *, cpus: int) -> Settings:
    """Check flag values and give them their form.

    Raises:
        ServingError: INVALID_ARGUMENT; the sentence says which flags contradict each other.
    """
    if not values["port"] and not values["grpc_socket_path"]:
        raise invalid_argument(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
        )
    if not values["model_base_path"] and not values["model_config_file"]:
        raise invalid_argument(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    if values["batching_parameters_file"] and not values["enable_batching"]:
        raise invalid_argument(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
        )
    intra, inter = _parallelism(values)
    policy = str(values["aspired_version_policy"])
    if policy not in POLICIES:
        raise invalid_argument(
            f"--aspired_version_policy={policy} must be one of {', '.join(sorted(POLICIES))}"
        )
    for name in ("drain_seconds", "max_connection_age_seconds"):
        if not 0 <= values[name] <= 86400:  # noqa: PLR2004 - a day; also refuses NaN
            raise invalid_argument(f"--{name} must be between 0 and 86400 seconds")
    return Settings(
        port=values["port"],
        socket_path=values["grpc_socket_path"],
        rest_port=values["rest_api_port"],
        rest_threads=max(values["rest_api_num_threads"], 1),
        rest_timeout=values["rest_api_timeout_in_ms"] / 1000,
        rest_max_body=values["rest_api_max_body_bytes"],
        rest_max_decompressed=values["rest_api_max_decompressed_bytes"],
        cors=values["rest_api_enable_cors_support"],
        rpc_threads=max(values["grpc_max_threads"], 1),
        channel_arguments=_channel_arguments(values["grpc_channel_arguments"]),
        max_connection_age=connection_age(
            values["max_connection_age_seconds"], values["drain_seconds"]
        ),
        model_name=values["model_name"],
        model_base_path=values["model_base_path"],
        model_config_file=values["model_config_file"],
        policy=policy,
        keep_last=values["servable_versions_always_present"],
        poll_wait=values["file_system_poll_wait_seconds"],
        load_threads=values["num_load_threads"] if values["num_load_threads"] > 0 else 4 * cpus,
        max_load_retries=max(values["max_num_load_retries"], 0),
        load_retry_interval=max(values["load_retry_interval_micros"], 0) / 1e6,
        tags=frozenset(tag for tag in str(values["saved_model_tags"]).split(",") if tag),
        intra_op_threads=intra,
        inter_op_threads=inter,
        gpu_memory_fraction=values["per_process_gpu_memory_fraction"],
        tensor_content=values["enable_serialization_as_tensor_content"],
        drain=values["drain_seconds"],
        exit_on_failed_load=values["exit_on_failed_load"],
        termination_log=values["termination_log"],
    )


def connection_age(asked: float, drain: float) -> float:
    """Return the age, in seconds, at which connections are recycled: never so old that a drain would not reach all.

    >>> connection_age(10, 12), connection_age(10, 6)
    (10, 5.0)
    """
    return min(asked, drain / _AGE_SHARE_OF_DRAIN) if drain > 0 else asked


def _parallelism(values: Mapping[str, Any]) -> tuple[int, int]:
    both = values["tensorflow_session_parallelism"]
    intra, inter = (
        values["tensorflow_intra_op_parallelism"],
        values["tensorflow_inter_op_parallelism"],
    )
    if both and (intra or inter):
        raise invalid_argument(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all."
        )
    return (both, both) if both else (intra, inter)


def _channel_arguments(text: str) -> dict[str, int | str]:
    arguments: dict[str, int | str] = {}
    for pair in filter(None, text.split(",")):
        name, _, value = pair.partition("=")
        number = value.removeprefix("-")
        arguments[name] = int(value) if number.isascii() and number.isdigit() else value
    return arguments
