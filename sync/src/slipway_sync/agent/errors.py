"""How a sync fails: one exception, typed by what follows from it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from slipway_sync.exports import ExitCode, printable
from slipway_sync.stores import ObjectReplacedError, SourceError, WrongAnswerError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SyncError(Exception):
    """The sync ends here.

    Attributes:
        code: The process's exit code, which says what is to be done next.
        reason: CamelCase; the code's own, or the particular finding.
        object: The path to blame, relative to the version's directory, or "".
    """

    def __init__(self, code: ExitCode, message: str, *, reason: str = "", path: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or code.reason
        self.object = path


def of_source(error: SourceError, path: str = "") -> SyncError:
    """Return what a store's error means for the sync.

    Args:
        error: It keeps coming.
        path: The object that was asked for, where the error does not say.
    """
    path = error.path or path
    if isinstance(error, WrongAnswerError):
        return SyncError(ExitCode.REJECTED, str(error), reason=error.finding, path=path)
    match error.reason:
        case "AccessDenied":
            code = ExitCode.ACCESS_DENIED
        case "NotFound":
            code = ExitCode.REVISION_MOVED
        case "Unavailable":
            code = ExitCode.SOURCE_UNAVAILABLE
        case "InvalidSource":
            code = ExitCode.USAGE
    return SyncError(code, str(error), path=path)


def of_replacement(error: ObjectReplacedError, *, listed: bool) -> SyncError:
    """Return what it means that an object is not the listed one any more.

    Args:
        error: It keeps coming, or the listing has changed.
        listed: Whether the listing still is the planned one.
    """
    if not listed:
        return SyncError(ExitCode.REVISION_MOVED, str(error), path=error.path)
    message = f"the source lists {printable(error.path)}, but has no such object or sends another"
    return SyncError(ExitCode.REJECTED, message, reason="ObjectDiffers", path=error.path)


@contextmanager
def volume_errors(path: str = "") -> Iterator[None]:
    """Turn what the operating system says about the volume into a SyncError.

    Args:
        path: The file being handled, relative to the version's directory.
    """
    try:
        yield
    except OSError as error:
        what = printable(path) if path else "the destination"
        if error.errno in _FULL:
            message = f"the volume is full: {what} cannot be written"
        else:
            message = f"{what} cannot be written to the volume: {os.strerror(error.errno or 0)}"
        raise SyncError(ExitCode.VOLUME_ERROR, message, path=path) from error
