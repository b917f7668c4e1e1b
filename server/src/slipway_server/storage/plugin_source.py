"""Base paths that are URIs of plug-ins: their versions are listed and fetched into a directory of this machine.

A version's directory is `ROOT/MODEL/VERSION-REVISION`, complete or not there. It is removed when the model has not
wanted it for two looks and nothing has it open (`loading.directory_lock`).
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import structlog

from slipway_server.errors import Code, ServingError, not_found
from slipway_server.plugins.api import Source
from slipway_server.plugins.entry_points import Group, load
from slipway_server.storage.source import ModelConfig, VersionDirectory
from slipway_server.storage.versions import Selection, select

T = TypeVar("T")

_log = structlog.get_logger("slipway_server.source")

LOCK_FILE: Final = ".slipway.lock"
_STAGING: Final = ".fetching-"
_MAX_VERSION: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one look has come to.

    Attributes:
        versions: those that are within reach.
        warnings: what was odd, in sentences.
        trouble: why there is nothing to load; None when there is.
    """

    versions: tuple[VersionDirectory, ...]
    warnings: tuple[str, ...]
    trouble: ServingError | None


class PluginSources:
    """Looks at base paths `NAME://…`, each through its plug-in.

    Args:
        root: where versions are fetched to; empty for a temporary directory, which goes with the server.
        find: returns a plug-in's function by its name.
    """

    def __init__(
        self,
        root: str = "",
        find: Callable[[str], Callable[[str], Source]] = lambda name: load(Group.SOURCES, name),
    ) -> None:
        self._root = root
        self._temporary = ""
        self._find = find
        self._lock = threading.Lock()
        self._opened: dict[tuple[str, str], _Opened] = {}

    def look(self, model: ModelConfig) -> Fetched:
        """Look at a model's base path once, and fetch what its version policy chooses.

        Raises:
            ServingError: it cannot be said which versions there are.
        """
        key = (model.name, model.base_path)
        with self._lock:
            opened = self._opened.setdefault(key, _Opened())
        with opened.lock:
            if opened.source is None:
                opened.source = self._open(model)
            return self._look(model, opened)

    def keep(self, models: Iterable[ModelConfig]) -> None:
        """Close the sources that are no model's any more."""
        wanted = {(one.name, one.base_path) for one in models}
        with self._lock:
            gone = [self._opened.pop(key) for key in self._opened.keys() - wanted]
        for opened in gone:
            # A look may be under way, for as long as its source does not answer.
            threading.Thread(target=opened.close, name="source-close", daemon=True).start()

    def remove_temporary(self) -> None:
        """Remove what was fetched, unless the directory was named."""
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _open(self, model: ModelConfig) -> Source:
        name, _, location = model.base_path.partition("://")
        return _asked(
            f"{model.base_path} of servable {model.name}", lambda: self._find(name)(location)
        )

    def _look(self, model: ModelConfig, opened: "_Opened") -> Fetched:
        source = opened.source
        if source is None:
            raise ServingError(Code.INTERNAL, f"Base path {model.base_path} is not open")
        what = f"base path {model.base_path} of servable {model.name}"
        offered = _offered(what, _asked(what, source.versions))
        chosen = select(model.name, model.base_path, map(str, offered), model.policy)
        folder = self._folder(model)
        warnings = list(chosen.warnings)
        found: dict[int, VersionDirectory] = {}
        failure: ServingError | None = None
        for version in chosen.directories:
            try:
                found[version] = _fetched(model, source, version, offered[version], folder)
            except ServingError as error:
                failure = error
                warnings.append(error.message)
        if failure is not None:
            # What was there before stays until all that is wanted is here.
            found = {**opened.found, **found}
        opened.found = found
        _clean_up(folder, opened, {Path(one.path).name for one in found.values()})
        trouble = None if found else failure or _nothing(chosen)
        return Fetched(tuple(found[version] for version in sorted(found)), tuple(warnings), trouble)

    def _folder(self, model: ModelConfig) -> Path:
        with self._lock:
            if not self._root:
                try:
                    self._root = self._temporary = tempfile.mkdtemp(prefix="slipway-sources-")
                except OSError as error:
                    raise ServingError(
                        Code.UNKNOWN,
                        f"There is no temporary directory for {model.base_path} of servable {model.name}: {error}; "
                        "name one with --source_directory",
                    ) from error
            root = self._root
        key = _digest(f"{model.name}\0{model.base_path}")
        return Path(root, key)


@dataclass(slots=True)
class _Opened:
    """One model's base path; the lock is held for the length of a look."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    source: Source | None = None
    found: dict[int, VersionDirectory] = field(default_factory=dict)
    unwanted: frozenset[str] = frozenset()

    def close(self) -> None:
        with self.lock:
            if self.source is not None:
                try:
                    self.source.close()
                except Exception:  # noqa: BLE001 - nobody needs it any more
                    _log.exception("source not closed")


def _asked(what: str, call: Callable[[], T]) -> T:
    """Call a plug-in; whatever it raises becomes one sentence."""
    try:
        return call()
    except ServingError as error:
        raise ServingError(error.code, f"Could not look at {what}: {error.message}") from error
    except Exception as error:
        _log.exception("a source plug-in failed", what=what)
        raise ServingError(
            Code.UNKNOWN, f"Could not look at {what}: {type(error).__name__}: {error}"
        ) from error


def _offered(what: str, versions: object) -> dict[int, str]:
    """Return what a source says there is, once it is known to be what it should be."""
    good = isinstance(versions, Mapping) and all(
        isinstance(number, int) and 0 <= number <= _MAX_VERSION and isinstance(revision, str)
        for number, revision in versions.items()
    )
    if not good or not isinstance(versions, Mapping):
        raise ServingError(
            Code.INTERNAL,
            f"Could not look at {what}: its plug-in did not return revisions by version number",
        )
    return dict(versions)


def _fetched(
    model: ModelConfig, source: Source, version: int, revision: str, folder: Path
) -> VersionDirectory:
    """Bring a version within reach, if it is not there yet."""
    digest = _digest(revision)
    target = folder / f"{version}-{digest}"
    if not target.is_dir():
        what = f"version {version} of servable {model.name} from {model.base_path}"
        staging = folder / f"{_STAGING}{target.name}"
        try:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            _fetch(what, lambda: source.fetch(version, revision, staging))
            (staging / LOCK_FILE).touch()
            staging.rename(target)
        except OSError as error:
            raise ServingError(Code.UNKNOWN, f"Could not fetch {what}: {error}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        _log.info("fetched", model=model.name, version=version, path=str(target))
    return VersionDirectory(version, str(target), digest)


def _fetch(what: str, fetch: Callable[[], None]) -> None:
    try:
        fetch()
    except ServingError as error:
        raise ServingError(error.code, f"Could not fetch {what}: {error.message}") from error
    except Exception as error:
        _log.exception("a source plug-in failed", what=what)
        raise ServingError(
            Code.UNKNOWN, f"Could not fetch {what}: {type(error).__name__}: {error}"
        ) from error


def _nothing(chosen: Selection) -> ServingError:
    return not_found(chosen.warnings[-1])


def _clean_up(folder: Path, opened: _Opened, wanted: set[str]) -> None:
    """Remove what was unwanted at the last look, too: a load of it would have begun by now, and locked it."""
    try:
        there = {entry.name for entry in folder.iterdir()}
    except OSError:
        return
    unwanted = frozenset(there - wanted)
    for name in unwanted & opened.unwanted:
        _remove_unused(folder / name)
    opened.unwanted = unwanted


def _remove_unused(directory: Path) -> None:
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)  # never complete
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    except OSError:
        return  # in use
    finally:
        os.close(descriptor)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=10).hexdigest()
