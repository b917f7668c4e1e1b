"""Reads `logging_config` of the model config file."""

from pathlib import PurePosixPath
from typing import Final

from tensorflow_serving.config import model_server_config_pb2

from slipway_server.errors import invalid_argument, not_found
from slipway_server.storage.source import LoggingRule

TYPES: Final = frozenset({"tfrecord", "file"})
"""Values of `log_collector_config.type`. TensorFlow Serving knows none, unless somebody builds one in."""


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
    if collector.type not in TYPES:
        raise not_found(f"Cannot find LogCollector::Factory for type: {collector.type}")
    if not PurePosixPath(collector.filename_prefix).is_absolute():
        raise invalid_argument(
            f"Model {config.name} must have an absolute filename_prefix in its log_collector_config"
        )
    return LoggingRule(collector.filename_prefix, rate)
