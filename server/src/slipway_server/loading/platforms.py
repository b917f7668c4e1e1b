"""Loads each version by the platform of its model: TensorFlow's loaders, or a plug-in."""

from collections.abc import Callable

from slipway_server.core.managed_version import Loader
from slipway_server.loading.directory_lock import DirectoryLockLoader
from slipway_server.loading.timeout import TimeoutLoader
from slipway_server.plugins.entry_points import Group, load
from slipway_server.servables.plugin import PluginLoader, PluginModel
from slipway_server.servables.servable import ServedModel


class PlatformLoader:
    """Chooses the loader of a version (`core.managed_version.Loader`).

    Args:
        tensorflow: for all models without a plug-in.
        plugin_of: of a model, the name of its plug-in, or an empty string.
        timeout: seconds that a load may take; 0 for no limit.
    """

    def __init__(
        self, tensorflow: Loader[ServedModel], plugin_of: Callable[[str], str], timeout: float
    ) -> None:
        self._tensorflow = tensorflow
        self._plugin_of = plugin_of
        self._timeout = timeout
        self._plugins: dict[str, Loader[PluginModel]] = {}

    def load(self, model: str, version: int, path: str) -> ServedModel:
        """Load a version.

        Raises:
            ServingError: what the loader says; INVALID_ARGUMENT when the plug-in cannot be used.
        """
        if name := self._plugin_of(model):
            return self._plugin(name).load(model, version, path)
        return self._tensorflow.load(model, version, path)

    def unload(self, content: ServedModel) -> None:
        """Release what `load` returned."""
        if isinstance(content, PluginModel):
            self._plugin(content.plugin).unload(content)
        else:
            self._tensorflow.unload(content)

    def _plugin(self, name: str) -> Loader[PluginModel]:
        # The lock of a directory is the loader's that took it: one loader for each plug-in. Two that are made at the
        # same time would be two.
        if (found := self._plugins.get(name)) is None:
            loader: Loader[PluginModel] = PluginLoader(name, load(Group.SERVABLES, name))
            if self._timeout > 0:
                loader = TimeoutLoader(loader, self._timeout)
            found = self._plugins.setdefault(name, DirectoryLockLoader(loader))
        return found
