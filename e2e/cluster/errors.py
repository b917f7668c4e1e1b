"""What can go wrong with the local cluster, as sentences for the person who runs it."""

from collections import deque
from pathlib import Path

TAIL_LINES = 15


class ClusterError(Exception):
    """The local cluster cannot do what was asked; the message says what failed and what to do."""


class ComponentError(ClusterError):
    """One program of the cluster failed; the message ends with the tail of its log."""

    def __init__(self, component: str, problem: str, log: Path) -> None:
        self.component = component
        super().__init__(f"{component} {problem}\n{quoted_tail(log)}")


def tail(path: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a text file; empty when there is no such file."""
    try:
        with path.open(errors="replace") as text:
            return list(deque((line.rstrip("\n") for line in text), maxlen=lines))
    except FileNotFoundError:
        return []


def quoted_tail(log: Path) -> str:
    last = tail(log)
    if not last:
        return f"  (nothing in {log})"
    return "\n".join([f"  the end of {log}:", *(f"  | {line}" for line in last)])
