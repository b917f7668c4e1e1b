"""Watches base paths and says which versions should be loaded.

One listing per model and poll. A listing that fails or is empty unloads nothing: what serves goes on, and the reason
is kept for the readiness page. One model's trouble never touches another.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from slipway_server.storage.versions import Latest, VersionPolicy, select

_log = structlog.get_logger("slipway_server.source")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model to serve.

    Attributes:
        base_path: absolute path whose numeric children are its versions.
        labels: version label → version.
    """

    name: str
    base_path: str
    policy: VersionPolicy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VersionDirectory:
    """A version that should be loaded.

    Attributes:
        fingerprint: changes when anything under the directory does.
    """

    version: int
    path: str
    fingerprint: str


class Found(Protocol):
    """Is told at every poll which versions of a model should be loaded."""

    def __call__(self, model: str, versions: tuple[VersionDirectory, ...]) -> None:
        """Take them in the place of those said before."""


class FileSystemSource:
    """Polls the base paths of all models.

    Args:
        models: what to watch.
        found: is told the versions of a model at every poll.
        interval: seconds between polls; 0 polls once, a negative one never (then `poll` is called by hand).
        keep_last: whether an empty base path leaves loaded versions alone.
        failed: called with (model, sentence) whenever a poll finds nothing to load for a model.
    """

    def __init__(
        self,
        models: Iterable[ModelConfig],
        found: Found,
        *,
        interval: float,
        keep_last: bool = True,
        failed: Callable[[str, str], None] = lambda _model, _sentence: None,
    ) -> None:
        self._models = tuple(models)
        self._found = found
        self._interval = interval
        self._keep_last = keep_last
        self._failed = failed
        self._troubles: dict[str, str] = {}
        self._said: dict[str, tuple[str, ...]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Poll no more."""
        self._stopped.set()

    def trouble(self, model: str) -> str:
        """Return why the last poll found nothing to load for a model, or an empty string."""
        return self._troubles.get(model, "")

    def poll(self) -> None:
        """Look at every base path once."""
        for model in self._models:
            self._poll_model(model)

    def _run(self) -> None:
        if self._interval < 0:
            return
        self.poll()
        while self._interval > 0 and not self._stopped.wait(self._interval):
            self.poll()

    def _poll_model(self, model: ModelConfig) -> None:
        try:
            children = _directories(model.base_path)
        except OSError as error:
            sentence = (
                f"Could not find base path {model.base_path} for servable {model.name} "
                f"with error {error.strerror or error}"
            )
            self._note(model.name, (sentence,))
            self._set_trouble(model.name, sentence)
            return
        selection = select(model.name, model.base_path, children, model.policy)
        self._note(model.name, selection.warnings)
        if not selection.directories:
            self._set_trouble(model.name, selection.warnings[-1] if selection.warnings else "")
            if self._keep_last:
                return
        else:
            self._troubles.pop(model.name, None)
        paths = {
            number: str(Path(model.base_path, name))
            for number, name in selection.directories.items()
        }
        self._found(
            model.name,
            tuple(
                VersionDirectory(number, path, fingerprint(path)) for number, path in paths.items()
            ),
        )

    def _set_trouble(self, model: str, sentence: str) -> None:
        self._troubles[model] = sentence
        self._failed(model, sentence)

    def _note(self, model: str, sentences: tuple[str, ...]) -> None:
        """Log what a poll found odd: once, not at every poll."""
        if self._said.get(model) != sentences:
            self._said[model] = sentences
            for sentence in sentences:
                _log.warning("version discovery", model=model, warning=sentence)


def _directories(base_path: str) -> list[str]:
    with os.scandir(base_path) as entries:
        return [entry.name for entry in entries if entry.is_dir()]


def fingerprint(directory: str) -> str:
    """Return a digest of the names, sizes and times under a directory: it changes when an upload goes on."""
    digest = hashlib.blake2b(digest_size=16)
    for folder, folders, files in os.walk(directory):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(files)):
            try:
                status = path.stat()
            except OSError:
                continue
            line = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()
