"""Which kinds of models and base paths can be served here: TensorFlow's, and those of plug-ins."""

from collections.abc import Collection, Iterable
from typing import Final

from slipway_server.errors import invalid_argument
from slipway_server.plugins.entry_points import Group, installed_text, load, names
from slipway_server.storage.base_path import is_uri
from slipway_server.storage.source import ModelConfig

PLATFORMS: Final = frozenset({"tensorflow"})
"""What needs no plug-in."""


def check_supported(configs: Iterable[ModelConfig], platforms: Collection[str] = PLATFORMS) -> None:
    """Refuse models of a kind that cannot be served here; imports the plug-ins that they name.

    Args:
        configs: the models.
        platforms: those that need no plug-in.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    for config in configs:
        if config.platform not in platforms:
            _import_servable(config)
        if is_uri(config.base_path):
            load(Group.SOURCES, config.base_path.partition("://")[0])


def _import_servable(config: ModelConfig) -> None:
    installed = names(Group.SERVABLES)
    if config.platform not in installed:
        others = f"; {installed_text(Group.SERVABLES)}" if installed else ""
        raise invalid_argument(
            f"Model {config.name} requests unsupported platform {config.platform}{others}"
        )
    load(Group.SERVABLES, config.platform)
