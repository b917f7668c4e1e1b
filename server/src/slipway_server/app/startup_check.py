"""What can be told about a configuration before TensorFlow is imported and before the ports open.

Refused is what cannot become right while the server runs. What somebody may still upload is told, and waited for.
"""

import os
import posixpath
import threading
from collections.abc import Callable
from pathlib import PurePath
from typing import Final

from slipway_server.control.platforms import PLATFORMS, check_supported
from slipway_server.core.policies import POLICIES
from slipway_server.errors import invalid_argument
from slipway_server.settings.server import Settings
from slipway_server.storage.base_path import is_uri, usable_base_path
from slipway_server.storage.source import ModelConfig
from slipway_server.storage.versions import version_number

_GRAPHS: Final = frozenset({"saved_model.pb", "saved_model.pbtxt", "export.meta", "model.tflite"})
"""One of these files makes a directory a version."""

_PATIENCE_SECONDS: Final = 2.0
"""For one look at a folder."""


def check_configuration(
    settings: Settings, tell: Callable[[str], None], warn: Callable[[str], None]
) -> None:
    """Look at what the flags name.

    Args:
        settings: of the flags.
        tell: is told in which line a config file is wrong, before the error is raised.
        warn: is told, a sentence at a time, what is wrong for now but may come right.

    Raises:
        ServingError: a file cannot be read or used, or a base path cannot be right.
    """
    rules = settings.model_management
    if rules.policy not in POLICIES:
        from slipway_server.core.plugin_policy import policy_named  # noqa: PLC0415 - as below

        policy_named(rules.policy)
    if rules.config_file:
        _check_config_file(rules.config_file, tell, warn)
    else:
        path = usable_base_path(rules.model_name, rules.model_base_path)
        if rules.model_platform not in PLATFORMS or is_uri(path):
            check_supported((ModelConfig(rules.model_name, path, platform=rules.model_platform),))
        tensorflow = rules.model_platform in PLATFORMS
        if tensorflow and (parent := parent_of_version(path)):
            raise invalid_argument(
                f"--model_base_path={path} is itself a version; give its parent: --model_base_path={parent}"
            )
        if trouble := trouble_with(path, tensorflow=tensorflow):
            warn(f"--model_base_path={path} {trouble}")
    if settings.batching:
        _check_batching(settings)


def _check_config_file(path: str, tell: Callable[[str], None], warn: Callable[[str], None]) -> None:
    # Protobuf takes a while, and without a file /livez need not wait for it.
    from slipway_server.control.model_config import model_configs, read_model_config  # noqa: PLC0415

    configs = model_configs(read_model_config(path, tell))
    check_supported(configs or ())
    if not configs:
        warn(f"--model_config_file={path} lists no model; nothing is served until it does")
    for model in configs or ():
        tensorflow = model.platform in PLATFORMS
        if tensorflow and (parent := parent_of_version(model.base_path)):
            warn(
                f"base_path {model.base_path} of model {model.name} is itself a version; give its parent, {parent}"
            )
        elif trouble := trouble_with(model.base_path, tensorflow=tensorflow):
            warn(f"base_path {model.base_path} of model {model.name} {trouble}")


def _check_batching(settings: Settings) -> None:
    from slipway_server.batching.parameters import parameters_from_text, read_parameters  # noqa: PLC0415 - as above

    if settings.batching_parameters_file:
        read_parameters(settings.batching_parameters_file)
    elif settings.batching_parameters:
        parameters_from_text(settings.batching_parameters)


def parent_of_version(path: str) -> str:
    """Return the folder that a base path should have named, when it names a version; otherwise an empty string.

    A folder that has versions in it is a base path, whatever else is there.
    """
    names = _names(path)
    if isinstance(names, Exception) or not _is_export(names):
        return ""
    own = PurePath(posixpath.normpath(path))
    return str(own.parent) if version_number(own.name) is not None else ""


def trouble_with(path: str, *, tensorflow: bool = True) -> str:
    """Return what is wrong with a base path for now, and what to do; an empty string when there is a version in it.

    Args:
        path: the base path; of a URI nothing is said.
        tensorflow: whether exports of TensorFlow are what is looked for.
    """
    match frozenset({"1"}) if is_uri(path) else _names(path):
        case FileNotFoundError():
            return "does not exist; the server waits for it"
        case NotADirectoryError():
            return "is no directory; give the one that holds the versions"
        case TimeoutError():
            return "has not been read yet: its file system does not answer; the server waits for it"
        case Exception() as error:
            return f"cannot be read: {getattr(error, 'strerror', None) or error}"
        case names if tensorflow and _is_export(names):
            return "is itself an export; move it into a folder named by its version, such as 1"
        case names if any(version_number(name) is not None for name in names):
            return ""
        case _:
            return "holds no version, which is a folder named by a number, such as 1; the server waits for one"


def _is_export(names: frozenset[str]) -> bool:
    numbered = any(version_number(name) is not None for name in names)
    return not numbered and not _GRAPHS.isdisjoint(names)


def _names(path: str) -> frozenset[str] | Exception:
    """Return what is in a folder, or why that cannot be said; a file system that hangs must not keep the ports shut."""
    found: list[frozenset[str] | Exception] = []

    def read() -> None:
        try:
            found.append(frozenset(os.listdir(path)))  # noqa: PTH208 - names
        except (OSError, ValueError) as error:
            found.append(error)

    thread = threading.Thread(target=read, name="startup-check", daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    return found[0] if found else TimeoutError()
