"""One JSON object a line on standard error."""

import logging
import sys
from typing import Any

import orjson
import structlog


def configure() -> None:
    """Set up the log for the process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_serialize),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _serialize(event: dict[str, Any], **_options: Any) -> str:
    return orjson.dumps(event, default=str).decode("utf-8")
