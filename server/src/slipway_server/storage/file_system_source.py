"""Watches base paths and says which versions should be loaded.

One look per model and poll. A listing that fails or is empty unloads nothing: what serves goes on, and the reason
is kept for the readiness page. One model's trouble never touches another: a look that does not end, as on a network
file system whose server is gone, delays the others once and briefly. Which models there are may change at any time.
"""

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from slipway_server.errors import Code, ServingError, invalid_argument, not_found
from slipway_server.storage.base_path import is_uri, look
from slipway_server.storage.directories import fingerprint
from slipway_server.storage.look_threads import LookThreads
from slipway_server.storage.plugin_source import PluginSources
from slipway_server.storage.source import Failed, Found, ModelConfig, VersionDirectory
from slipway_server.storage.versions import Specific

_log = structlog.get_logger("slipway_server.source")

_ACCESS_ERROR: Final = "FileSystemStoragePathSource encountered a filesystem access error: "
_PATIENCE_SECONDS: Final = 0.2
"""How long a look may keep the other models waiting; most end within a millisecond."""
_HUNG_SECONDS: Final = 10.0
"""A look that takes longer is reported."""


class FileSystemSource:
    """Polls the base paths of all models (`source.VersionSource`).

    Args:
        models: what to watch.
        found: is told the versions of a model at every poll, and that there are none when the model is removed.
        interval: seconds between polls; 0 polls once and after each change of the models, a negative one never (then
            `poll` is called by hand).
        keep_last: whether an empty base path leaves loaded versions alone.
        failed: called with (model, why) whenever a poll finds nothing to load for a model.
        follow_links: whether version directories may be links out of their base path.
        plugins: looks at base paths that are URIs.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        models: Iterable[ModelConfig],
        found: Found,
        *,
        interval: float,
        keep_last: bool = True,
        failed: Failed = lambda model, trouble: None,  # noqa: ARG005 - nobody listens
        follow_links: bool = False,
        plugins: PluginSources | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = {model.name: model for model in models}
        self._found = found
        self._interval = interval
        self._keep_last = keep_last
        self._failed = failed
        self._follow_links = follow_links
        self._plugins = plugins or PluginSources()
        self._clock = clock
        self._threads = LookThreads()
        # Looks under way, by the configuration that they are for: since when.
        self._looking: dict[int, tuple[ModelConfig, float]] = {}
        self._troubles: dict[str, str] = {}
        self._said: dict[str, tuple[str, ...]] = {}
        # What is said about a model is said under this lock, after a look whether it is still configured that way.
        self._lock = threading.RLock()
        self._wanted = threading.Condition(self._lock)
        self._look_now = True
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Poll no more."""
        with self._wanted:
            self._stopped = True
            self._wanted.notify_all()
        self._threads.stop()

    def update(self, models: Iterable[ModelConfig]) -> None:
        """Watch other models from now on; those no longer named lose all their versions at once."""
        with self._wanted:
            before, self._models = self._models, {}
            for model in models:
                old = before.get(model.name)
                same = old is not None and (old, old.within) == (model, model.within)
                # The one that is known goes on: a look at it may be under way.
                self._models[model.name] = old if same and old is not None else model
            for name in before.keys() - self._models.keys():
                self._troubles.pop(name, None)
                self._said.pop(name, None)
                self._found(name, ())
            self._plugins.keep(self._models.values())
            self._look_now = True
            self._wanted.notify_all()

    def trouble(self, model: str) -> str:
        """Return why the last poll found nothing to load for a model, or an empty string."""
        return self._troubles.get(model, "")

    def poll(self, patience: float | None = None) -> None:
        """Look at every base path once.

        Args:
            patience: seconds after which a look is left to itself and the next one begins; None waits for each.
        """
        with self._lock:
            models = tuple(self._models.values())
        for model in models:
            if self._begin(model):
                self._threads.run(partial(self._look, model), patience)

    def _begin(self, model: ModelConfig) -> bool:
        """Take note of a look; False when the one before it has not ended."""
        now = self._clock()
        with self._lock:
            if id(model) not in self._looking:
                self._looking[id(model)] = (model, now)
                return True
            _, since = self._looking[id(model)]
        if now - since >= _HUNG_SECONDS:
            self._say_hung(model)
        return False

    def _say_hung(self, model: ModelConfig) -> None:
        if is_uri(model.base_path):
            # A fetch may take as long: nobody who waits for the model is told that there is nothing.
            sentence = f"Base path {model.base_path} of servable {model.name} is still being listed or fetched"
            with self._lock:
                if self._models.get(model.name) is model:
                    self._note(model.name, (sentence,))
                    self._troubles[model.name] = sentence
            return
        sentence = (
            f"The file system has not answered for more than {_HUNG_SECONDS:.0f} s: base path {model.base_path} "
            f"of servable {model.name} is looked at again when it does"
        )
        self._say(model, ServingError(Code.UNAVAILABLE, sentence), (sentence,), None)

    def _look(self, model: ModelConfig) -> None:
        try:
            self._poll_model(model)
        except Exception:  # noqa: BLE001 - one model's trouble must not end discovery for all
            _log.exception("version discovery failed", model=model.name)
        finally:
            with self._lock:
                self._looking.pop(id(model), None)

    def _run(self) -> None:
        if self._interval < 0:
            return
        while self._wait():
            self.poll(_PATIENCE_SECONDS)

    def _wait(self) -> bool:
        """Wait until it is time for a poll; False when there will be none."""
        with self._wanted:
            self._wanted.wait_for(lambda: self._look_now or self._stopped, self._interval or None)
            self._look_now = False
            return not self._stopped

    def _poll_model(self, model: ModelConfig) -> None:
        """Look without the lock, which may take long; speak under it."""
        if is_uri(model.base_path):
            self._poll_plugin(model)
            return
        try:
            selection = look(model, follow_links=self._follow_links)
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
            sentence = (
                f"Could not find base path {model.base_path} for servable {model.name} "
                f"with error {_status(error, model.base_path)}"
            )
            self._say(model, invalid_argument(sentence), (_ACCESS_ERROR + sentence,), None)
            return
        versions = tuple(
            VersionDirectory(number, path, fingerprint(path))
            for number, name in selection.directories.items()
            for path in (str(Path(model.base_path, name)),)
        )
        trouble = (
            None if versions else not_found(" ".join((selection.warnings[-1], *selection.ignored)))
        )
        explicit = model.policy == Specific(frozenset())
        keep = not versions and self._keep_last and not explicit
        said = (*selection.ignored, *selection.warnings)
        self._say(model, trouble, said, None if keep else versions)

    def _poll_plugin(self, model: ModelConfig) -> None:
        try:
            fetched = self._plugins.look(model)
        except ServingError as error:
            self._say(model, error, (error.message,), None)
            return
        nothing = not fetched.versions and (
            self._keep_last
            or (fetched.trouble is not None and fetched.trouble.code is not Code.NOT_FOUND)
        )
        explicit = model.policy == Specific(frozenset())
        self._say(
            model,
            fetched.trouble,
            fetched.warnings,
            None if nothing and not explicit else fetched.versions,
        )

    def _say(
        self,
        model: ModelConfig,
        trouble: ServingError | None,
        warnings: tuple[str, ...],
        versions: tuple[VersionDirectory, ...] | None,
    ) -> None:
        with self._lock:
            if self._models.get(model.name) is not model:
                return
            self._note(model.name, warnings)
            if versions is not None:
                for one in versions:
                    _log.debug(
                        "aspiring version", model=model.name, version=one.version, path=one.path
                    )
                self._found(model.name, versions)
            if trouble:
                self._troubles[model.name] = trouble.message
                self._failed(model.name, trouble)
            else:
                self._troubles.pop(model.name, None)

    def _note(self, model: str, sentences: tuple[str, ...]) -> None:
        """Log what a poll found odd: once, not at every poll."""
        if self._said.get(model, ()) != sentences:
            self._said[model] = sentences
            for sentence in sentences:
                _log.warning("version discovery", model=model, warning=sentence)


def _status(error: OSError | ValueError, path: str) -> str:
    """Return a file system's error in TensorFlow's form.

    >>> _status(FileNotFoundError(2, "No such file or directory"), "/m")
    'NOT_FOUND: /m not found'
    """
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return f"NOT_FOUND: {path} not found"
        case PermissionError():
            return f"PERMISSION_DENIED: {path}; {error.strerror}"
        case OSError(strerror=str(words)):
            return f"UNKNOWN: {path}; {words}"
        case _:
            return f"UNKNOWN: {path}; {error}"
