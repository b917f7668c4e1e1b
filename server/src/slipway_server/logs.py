"""On standard error: text on a terminal, otherwise one JSON object a line.

A line that cannot be written is lost; nobody fails for its sake.
"""

import json
import sys
from contextlib import suppress
from typing import Any

import orjson
import structlog
from typing_extensions import override


def configure(level: str = "info") -> None:
    """Set up the log for the process.

    Args:
        level: of the least important lines that are written: `debug`, `info`, `warning` or `error`.
    """
    render: list[Any] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_serialize),
    ]
    if on_terminal():
        render = [structlog.dev.ConsoleRenderer(timestamp_key="time")]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )


def on_terminal() -> bool:
    """Whether somebody reads standard error, which may also be closed."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


class _Lines(structlog.PrintLogger):
    """Writes to standard error, which may be full, or gone: the threads that log have other things to do."""

    def __init__(self, *_names: object) -> None:
        super().__init__(sys.stderr)

    @override
    def msg(self, message: str) -> None:
        """Write a line."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _serialize(event: dict[str, Any], **_options: Any) -> str:
    try:
        return orjson.dumps(event, default=str).decode("utf-8")
    except TypeError:  # text that is no UTF-8, from a path or an argument
        return json.dumps(event, default=str)
