"""The folders that base paths and request logs may lie in.

Pure: paths are compared as text, so that an answer tells nothing about what exists.
"""

import posixpath
from collections.abc import Collection, Iterable
from dataclasses import replace

from slipway_server.errors import Code, ServingError
from slipway_server.storage.source import ModelConfig
from slipway_server.storage.versions import Latest, VersionPolicy


class ModelRoots:
    """What `--model_roots` names; else the folders of the models and logs that command line and config file name.

    Who writes these may read and write there anyway; a reload over gRPC must not lead anywhere else. If they name no
    model, the first list of models that comes is what counts.

    Args:
        named: the flag's folders; they hold for every configuration.
    """

    def __init__(self, named: Collection[str] = ()) -> None:
        self._named = bool(named)
        self._model_folders = frozenset(_clean(path) for path in named)
        self._log_folders = self._model_folders
        self._base_paths: frozenset[str] = frozenset()
        self._prefixes: frozenset[str] = frozenset()

    def trust(self, configs: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Return what the command line or the config file says; its folders count from now on.

        Raises:
            ServingError: PERMISSION_DENIED; the flag names folders, and a path is not below them.
        """
        if self._named:
            return self.confined(configs)
        base_paths = {_clean(config.base_path) for config in configs}
        prefixes = {_prefix(config.logging.prefix) for config in configs if config.logging}
        self._base_paths |= base_paths
        self._prefixes |= prefixes
        self._model_folders |= {_folder(path) for path in base_paths}
        self._log_folders |= {
            folder for path in prefixes if (folder := posixpath.dirname(path)) != "/"
        }
        return configs

    def trust_first(self, configs: tuple[ModelConfig, ...]) -> None:
        """Take in a configuration that is in force: it counts when it is the first that names a model."""
        if not self._model_folders:
            self.trust(configs)

    def confined(self, configs: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Return what a reload asks for, each model bound to the folders that it may be in.

        Raises:
            ServingError: PERMISSION_DENIED; a path is not below them.
        """
        if not self._model_folders:
            return configs
        base_paths = self._base_paths | {_clean(config.base_path) for config in configs}
        for config in configs:
            if config.logging:
                self._check_log(config.name, config.logging.prefix, base_paths)
        return tuple(self._confined(config) for config in configs)

    def _confined(self, config: ModelConfig) -> ModelConfig:
        if _plain(config.base_path) and _clean(config.base_path) in self._base_paths:
            return config
        if not _below(config.base_path, self._model_folders):
            raise _refused(config.name, f"base_path {config.base_path}", "models")
        return replace(config, within=tuple(sorted(self._model_folders)))

    def _check_log(self, model: str, prefix: str, base_paths: frozenset[str]) -> None:
        if _plain(prefix) and _prefix(prefix) in self._prefixes:
            return
        beside_models = _below(prefix, self._model_folders) and not _below(prefix, base_paths)
        if not beside_models and not _below(prefix, self._log_folders - self._model_folders):
            raise _refused(model, f"filename_prefix {prefix}", "request logs")


def check_fixed(fixed: Iterable[ModelConfig], configs: Iterable[ModelConfig]) -> None:
    """Refuse a list of models that takes away, or exchanges, those that the command line names.

    Raises:
        ServingError: PERMISSION_DENIED.
    """
    asked = {config.name: config for config in configs}
    for model in fixed:
        found = asked.get(model.name)
        if found is None or _served(found) != _served(model):
            raise ServingError(
                Code.PERMISSION_DENIED,
                f"Model {model.name} is named on the command line of this server: a reload must list it with base_path "
                f"{model.base_path} and without a version policy, unless the server is started with "
                "--model_config_file or --reload_rpc=on",
            )


def _served(config: ModelConfig) -> tuple[str, VersionPolicy]:
    """Return what decides which versions are served."""
    policy = config.policy
    if isinstance(policy, Latest):
        policy = Latest(max(policy.count, 1))
    return _clean(config.base_path) if _plain(config.base_path) else config.base_path, policy


def _refused(model: str, path: str, what: str) -> ServingError:
    return ServingError(
        Code.PERMISSION_DENIED,
        f"Model {model} has {path}, which is not in a folder that this server may use for {what}; name the folder in "
        "--model_roots",
    )


def _plain(path: str) -> bool:
    """Whether a path can be judged as text: `..` leaves a link's target, not the link's folder."""
    return ".." not in path.split("/")


def _clean(path: str) -> str:
    """Return a path without what means nothing.

    >>> _clean("//models/./m/")
    '/models/m'
    """
    return posixpath.normpath("/" + path.strip("/"))


def _prefix(path: str) -> str:
    """Return a prefix of file names likewise, of which a slash at the end is a part.

    >>> _prefix("/log//m"), _prefix("/log/")
    ('/log/m', '/log/')
    """
    return _clean(path) + "/" * path.endswith("/")


def _folder(path: str) -> str:
    """Return the folder that a path lies in, so that others can be added beside it; never the root of everything.

    >>> _folder("/models/m"), _folder("/m")
    ('/models', '/m')
    """
    folder = posixpath.dirname(path)
    return path if folder == "/" else folder


def _below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of the folders or below it.

    >>> _below("/models/m", ["/models"]), _below("/models2", ["/models"]), _below("/models/../etc", ["/models"])
    (True, False, False)
    """
    clean = _clean(path)
    return _plain(path) and any(
        folder in {"/", clean} or clean.startswith(folder + "/") for folder in folders
    )
