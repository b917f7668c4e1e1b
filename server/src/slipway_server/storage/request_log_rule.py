"""Which of a model's requests are kept, and where. Pure data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoggingRule:
    """A model's `logging_config`.

    Attributes:
        prefix: path that the files' names begin with.
        sampling: the share of requests that are kept, from 0 to 1.
    """

    prefix: str
    sampling: float
