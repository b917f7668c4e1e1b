"""The flags that say how models come and go, as one typed, checked value.

Pure, but that it knows which plug-ins are installed.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipway_server.core.labels import LabelRule
from slipway_server.core.load_retry import Bounds, RetryRule
from slipway_server.core.policies import POLICIES
from slipway_server.errors import invalid_argument
from slipway_server.plugins.entry_points import Group, names


@dataclass(frozen=True, slots=True)
class ModelManagementSettings:
    """How models are found, loaded, replaced and named. Times are in seconds.

    Attributes:
        model_platform: of the one model that the command line names.
        source_directory: absolute path of what plug-ins fetch; empty for a temporary one.
        config_poll: between looks at the config file; 0 reads it once.
        keep_last: whether an empty base path leaves loaded versions alone.
        poll_wait: between looks at base paths; 0 looks once and after each change of the config, less never.
        reload_timeout: that a reload waits for its new models.
        open_ports_at_once: or only when every model has a version that answers.
        reload_rpc: who may change the models over gRPC: `off`, `local` or `on`.
        model_roots: folders that base paths and request logs must be below; none named leaves it to the configuration.
        follow_links: whether version directories may be links out of their base path.
    """

    model_name: str
    model_base_path: str
    model_platform: str
    source_directory: str
    config_file: str
    config_poll: float
    policy: str
    keep_last: bool
    poll_wait: float
    fail_without_versions: bool
    bounds: Bounds
    retry: RetryRule
    labels: LabelRule
    reload_timeout: float
    open_ports_at_once: bool
    reload_rpc: str
    model_roots: tuple[str, ...]
    follow_links: bool


def model_management_settings(values: Mapping[str, Any], *, cpus: int) -> ModelManagementSettings:
    """Check flag values and give them their form.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if not values["model_base_path"] and not values["model_config_file"]:
        raise invalid_argument(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    policy = str(values["aspired_version_policy"])
    if policy not in POLICIES and policy not in (installed := names(Group.POLICIES)):
        raise invalid_argument(
            f"--aspired_version_policy={policy} must be one of {', '.join([*sorted(POLICIES), *installed])}"
        )
    timeout = float(values["servable_state_waiter_timeout_seconds"])
    if not timeout >= 0:
        raise invalid_argument("--servable_state_waiter_timeout_seconds must be 0 or more")
    return ModelManagementSettings(
        model_name=values["model_name"],
        model_base_path=values["model_base_path"],
        model_platform=values["model_platform"],
        source_directory=_source_directory(values),
        config_file=values["model_config_file"],
        config_poll=max(values["model_config_file_poll_wait_seconds"], 0),
        policy=policy,
        keep_last=values["servable_versions_always_present"],
        poll_wait=values["file_system_poll_wait_seconds"],
        fail_without_versions=values["fail_if_no_model_versions_found"],
        bounds=_bounds(values, cpus),
        retry=RetryRule(
            max(values["max_num_load_retries"], 0) if values["should_retry_model_load"] else 0,
            max(values["load_retry_interval_micros"], 0) / 1e6,
            permanent_errors=values["retry_permanent_load_errors"],
            failed_versions=values["enable_reload_servables_with_error"],
        ),
        labels=LabelRule(
            allowed=values["allow_version_labels"],
            strict=values["strict_version_labels"],
            new_may_wait=values["allow_version_labels_for_unavailable_models"],
            all_may_wait=values["force_allow_any_version_labels_for_unavailable_models"],
        ),
        reload_timeout=timeout,
        open_ports_at_once=values["open_ports_at_once"],
        reload_rpc=_reload_rpc(values),
        model_roots=absolute_paths(values, "model_roots"),
        follow_links=values["follow_links"],
    )


_RELOAD_RPC: Final = ("auto", "local", "off", "on")


def _reload_rpc(values: Mapping[str, Any]) -> str:
    """Return who may reload: by default nobody where a model that cannot be loaded would end the server."""
    asked = str(values["reload_rpc"])
    if asked not in _RELOAD_RPC:
        raise invalid_argument(f"--reload_rpc={asked} must be one of {', '.join(_RELOAD_RPC)}")
    if asked != "auto":
        return asked
    return "off" if values["exit_on_failed_load"] else "local"


def absolute_paths(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the paths that a flag lists, separated by commas.

    Raises:
        ServingError: INVALID_ARGUMENT; one of them is not absolute.
    """
    paths = tuple(path for path in str(values[name]).split(",") if path)
    for path in paths:
        if not posixpath.isabs(path):
            raise invalid_argument(f"--{name} must list absolute paths; {path} is none")
    return paths


def _source_directory(values: Mapping[str, Any]) -> str:
    path = str(values["source_directory"])
    if path and not posixpath.isabs(path):
        raise invalid_argument(f"--source_directory={path} must be an absolute path")
    return path


def _bounds(values: Mapping[str, Any], cpus: int) -> Bounds:
    loads, initial, unloads, memory = (
        max(values[name], 0)
        for name in (
            "num_load_threads",
            "num_initial_load_threads",
            "num_unload_threads",
            "total_model_memory_limit_bytes",
        )
    )
    own_choice = 4 * cpus
    return Bounds(loads or own_choice, initial or own_choice, unloads or None, memory or None)
