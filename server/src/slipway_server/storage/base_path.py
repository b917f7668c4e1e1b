"""One look at a base path: which version directories are there, and which of them are links that lead astray."""

import errno
import os
import posixpath
import re
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from slipway_server.errors import invalid_argument
from slipway_server.plugins.entry_points import Group, installed_text, names
from slipway_server.storage.source import ModelConfig
from slipway_server.storage.versions import (
    Selection,
    requested_directories,
    select,
    version_number,
)

_LEADS_NOWHERE: Final = frozenset({errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_uri(base_path: str) -> bool:
    """Whether a base path is the URI of a plug-in's source and no path on this machine."""
    return _URI.match(base_path) is not None


def usable_base_path(name: str, base_path: str) -> str:
    """Return a base path as a path on this machine, or as it is if it is the URI of an installed plug-in.

    Raises:
        ServingError: INVALID_ARGUMENT for a relative path or the URI of another storage.
    """
    if base_path.startswith("file://"):
        base_path = base_path.removeprefix("file://")
    if is_uri(base_path):
        installed = names(Group.SOURCES)
        if base_path.partition("://")[0] in installed:
            return base_path
        others = f"; {installed_text(Group.SOURCES)}" if installed else ""
        raise invalid_argument(
            f"Model {name} has base_path {base_path}, but this server reads local directories only; download it "
            f"with slipway-sync{others}"
        )
    if not posixpath.isabs(base_path):
        raise invalid_argument(
            f"Expected model {name} to have an absolute path or URI; got base_path()={base_path}"
        )
    return base_path


def look(model: ModelConfig, *, follow_links: bool = False) -> Selection:
    """Look at a base path once.

    Args:
        model: whose.
        follow_links: whether links out of the base path are followed, and the base path itself may be one that leads
            out of the folders that it must be in.

    Raises:
        OSError: there is no such directory, it cannot be read, or it lies elsewhere than it may.
        ValueError: no directory can have such a name.
    """
    base = model.base_path
    if model.within and not follow_links:
        # First of all, so that the answer is the same whether there is anything elsewhere or not.
        _check_place(base, model.within)
    Path(base).stat()
    names = requested_directories(model.policy)
    if names:
        usable, _ = _usable(model, names.values(), follow_links=follow_links)
        if len(usable) == len(names):
            # All that is asked for is there: no listing, which is what costs on large or remote directories.
            return Selection(names, ())
    with os.scandir(base) as entries:
        # Other names are nobody's business, whatever they are.
        numbered = [entry for entry in entries if version_number(entry.name) is not None]
    plain = {entry.name for entry in numbered if _is_plain_directory(entry)}
    others = [entry.name for entry in numbered if entry.name not in plain]
    usable, ignored = _usable(model, others, follow_links=follow_links)
    selection = select(model.name, base, [*plain, *usable], model.policy)
    return replace(selection, ignored=tuple(ignored))


def _is_plain_directory(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a directory and no link; costs no system call on most file systems."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _usable(
    model: ModelConfig, names: Iterable[str], *, follow_links: bool
) -> tuple[list[str], list[str]]:
    """Return the names that are directories, and a sentence for each link that is ignored."""
    base = model.base_path
    usable: list[str] = []
    ignored: list[str] = []
    for name in sorted(names):
        path = Path(base, name)
        try:
            link = stat.S_ISLNK(path.lstat().st_mode)
            if not stat.S_ISDIR(path.stat().st_mode):
                continue
        except OSError as error:
            if error.errno in _LEADS_NOWHERE:
                if path.is_symlink():
                    ignored.append(_ignored(model, name, "leads nowhere"))
                continue
            # It may be a version, and one that serves: what cannot be read now is no reason to unload it, and one that
            # cannot be loaded fails alone.
            usable.append(name)
            continue
        if link and not follow_links and not _inside(path, base):
            ignored.append(
                _ignored(model, name, f"leaves base path {base}") + " --follow_links follows it."
            )
            continue
        usable.append(name)
    return usable, ignored


def _ignored(model: ModelConfig, name: str, why: str) -> str:
    return f"Version directory {name} of servable {model.name} is a link that {why}; it is ignored."


def _check_place(base: str, folders: Iterable[str]) -> None:
    if not any(_inside(base, folder) for folder in folders):
        raise PermissionError(
            errno.EACCES, "it is a link out of the folders that a reload may name (--model_roots)"
        )


def _inside(path: str | Path, folder: str) -> bool:
    """Whether a path leads into a folder, or to it, when all links are followed."""
    real, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath((real, folder)) == folder
