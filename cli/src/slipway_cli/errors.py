"""What ends a command: one sentence and an exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `slipway` and `kubectl slipway`; docs/reference/cli.md lists them."""

    DONE = 0
    """It did what it was asked to."""
    REFUSED = 1
    """The server or the cluster refused the request, or the export is not complete."""
    USAGE = 2
    """The command line, or a file that it names, is wrong."""
    UNAVAILABLE = 3
    """No answer came; the same command may work later."""
    ROWS_FAILED = 4
    """A batch is finished, and some of its rows have an error instead of an answer."""
    INTERRUPTED = 130
    """It was interrupted by Ctrl-C."""


class CliError(Exception):
    """Ends the command; str() is one sentence: what is wrong, where, what to do.

    Attributes:
        code: What the process exits with.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.REFUSED) -> None:
        super().__init__(message)
        self.code = code


class UsageError(CliError):
    """The command line, or a file that it names, is wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.USAGE)


class RequestError(CliError):
    """The server finds fault with what this one request asks; another may do."""


class UnavailableError(CliError):
    """Nobody answered, or the answer was to come again later.

    Attributes:
        pause: Seconds that the server asks to wait; 0 where it does not say.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message, ExitCode.UNAVAILABLE)
        self.pause = pause
