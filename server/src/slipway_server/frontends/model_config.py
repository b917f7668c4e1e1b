"""The model config file: TensorFlow Serving's ModelServerConfig as text."""

import posixpath
import re
from pathlib import Path
from typing import Final

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from slipway_server.errors import invalid_argument, not_found
from slipway_server.storage.source import ModelConfig
from slipway_server.storage.versions import All, Latest, Specific, VersionPolicy

_PLATFORM: Final = "tensorflow"
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def read_model_config(path: str) -> tuple[ModelConfig, ...]:
    """Read a config file.

    Raises:
        ServingError: NOT_FOUND or INVALID_ARGUMENT, with the sentence TensorFlow Serving uses.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error
    message = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}': {error}") from error
    return model_configs(message)


def model_configs(message: model_server_config_pb2.ModelServerConfig) -> tuple[ModelConfig, ...]:
    """Check a config message and return its models.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if message.WhichOneof("config") == "custom_model_config":
        raise invalid_argument(
            "custom_model_config is not supported; list the models in model_config_list"
        )
    configs = message.model_config_list.config
    names: set[str] = set()
    for config in configs:
        if config.name in names:
            raise invalid_argument(
                f"Illegal to list model {config.name} multiple times in config list"
            )
        names.add(config.name)
    return tuple(_model(config) for config in configs)


def single_model(name: str, base_path: str) -> tuple[ModelConfig, ...]:
    """Return the configuration that `--model_name` and `--model_base_path` stand for."""
    return (ModelConfig(name, local_path(name, base_path)),)


def local_path(name: str, base_path: str) -> str:
    """Return a base path as a path on this machine.

    Raises:
        ServingError: INVALID_ARGUMENT for a relative path or the URI of another storage.
    """
    if base_path.startswith("file://"):
        base_path = base_path.removeprefix("file://")
    if scheme := _URI.match(base_path):
        raise invalid_argument(
            f"Model {name} has base_path {base_path}, but this server reads local directories only; let slipway-sync "
            f"bring what {scheme[0]} holds"
        )
    if not posixpath.isabs(base_path):
        raise invalid_argument(
            f"Expected model {name} to have an absolute path or URI; got base_path()={base_path}"
        )
    return base_path


def _model(config: model_server_config_pb2.ModelConfig) -> ModelConfig:
    name = config.name
    path = local_path(name, config.base_path)
    typed = config.model_type != model_server_config_pb2.MODEL_TYPE_UNSPECIFIED
    if not typed and not config.model_platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {name}"
        )
    if typed and config.model_platform:
        raise invalid_argument(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            f"ModelServerConfig::model_platform, model name is {name}"
        )
    platform = (
        config.model_platform or model_server_config_pb2.ModelType.Name(config.model_type).lower()
    )
    if platform != _PLATFORM:
        raise invalid_argument(f"Model {name} requests unsupported platform {platform}")
    return ModelConfig(name, path, _policy(config), dict(config.version_labels))


def _policy(config: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    policy = config.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "specific":
            return Specific(frozenset(policy.specific.versions))
        case "all":
            return All()
        case _:
            return Latest(policy.latest.num_versions)
