"""The models to serve, as TensorFlow Serving's ModelServerConfig says them."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

from slipway_server.errors import Code, ServingError, invalid_argument, not_found
from slipway_server.storage.base_path import usable_base_path
from slipway_server.storage.source import LoggingRule, ModelConfig
from slipway_server.storage.versions import All, Latest, Specific, VersionPolicy
from slipway_server.text_files import read_message
from slipway_server.wire.tensorflow_serving.config import model_server_config_pb2

LOG_COLLECTOR_TYPES: Final = frozenset({"tfrecord", "file"})
"""Values of `log_collector_config.type`. TensorFlow Serving knows none, unless somebody builds one in."""


def read_model_config(
    path: str, tell: Callable[[str], None] | None = None
) -> model_server_config_pb2.ModelServerConfig:
    """Read a config file.

    Args:
        path: of the file.
        tell: is told where the file is wrong (`read_message`).

    Raises:
        ServingError: NOT_FOUND or INVALID_ARGUMENT, with the sentence TensorFlow Serving uses.
    """
    return read_message(path, model_server_config_pb2.ModelServerConfig(), tell)


def model_configs(
    message: model_server_config_pb2.ModelServerConfig, *, listed: bool = False
) -> tuple[ModelConfig, ...] | None:
    """Check a config message and return its models; None when it says nothing, which is no change.

    A message that says nothing is another thing than an empty list, with which nothing is served.

    Args:
        message: the config.
        listed: whether a list of models is in force.

    Raises:
        ServingError: INVALID_ARGUMENT, or FAILED_PRECONDITION when a list would be replaced by something else.
    """
    kind = message.WhichOneof("config")
    if kind is None:
        return None
    if kind == "custom_model_config":
        raise _custom(listed=listed)
    configs = message.model_config_list.config
    names: set[str] = set()
    for config in configs:
        if config.name in names:
            raise invalid_argument(
                f"Illegal to list model {config.name} multiple times in config list"
            )
        names.add(config.name)
    return tuple(_model(config) for config in configs)


def _custom(*, listed: bool) -> ServingError:
    if listed:
        return ServingError(
            Code.FAILED_PRECONDITION,
            "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
            "another.",
        )
    return invalid_argument(
        "custom_model_config is not supported; list the models in model_config_list"
    )


def single_model(
    name: str, base_path: str, platform: str = "tensorflow"
) -> tuple[ModelConfig, ...]:
    """Return the configuration that `--model_name`, `--model_base_path` and `--model_platform` stand for."""
    return (ModelConfig(name, usable_base_path(name, base_path), platform=platform),)


def _model(config: model_server_config_pb2.ModelConfig) -> ModelConfig:
    path = usable_base_path(config.name, config.base_path)
    return ModelConfig(
        config.name,
        path,
        _policy(config),
        dict(config.version_labels),
        _platform(config),
        logging_rule(config),
    )


def _platform(config: model_server_config_pb2.ModelConfig) -> str:
    name = config.name
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
    named = model_server_config_pb2.ModelType.DESCRIPTOR.values_by_number.get(config.model_type)
    return config.model_platform or (named.name.lower() if named else str(config.model_type))


def _policy(config: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    policy = config.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "specific":
            return Specific(frozenset(policy.specific.versions))
        case "all":
            return All()
        case _:
            return Latest(policy.latest.num_versions)


def logging_rule(config: model_server_config_pb2.ModelConfig) -> LoggingRule | None:
    """Return how a model's requests are logged; None when they are not.

    Raises:
        ServingError: NOT_FOUND for an unknown type of collector, INVALID_ARGUMENT for a bad rate or prefix.
    """
    logging = config.logging_config
    rate = logging.sampling_config.sampling_rate
    if not config.HasField("logging_config") or rate == 0:
        return None
    if not 0 < rate <= 1:
        raise invalid_argument(
            f"Model {config.name} has sampling_rate {rate:g}; it must be between 0 and 1"
        )
    collector = logging.log_collector_config
    if collector.type not in LOG_COLLECTOR_TYPES:
        raise not_found(f"Cannot find LogCollector::Factory for type: {collector.type}")
    if not PurePosixPath(collector.filename_prefix).is_absolute():
        raise invalid_argument(
            f"Model {config.name} must have an absolute filename_prefix in its log_collector_config"
        )
    return LoggingRule(collector.filename_prefix, rate)
