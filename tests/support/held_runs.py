"""Runs that wait until a test lets them go, with the model that `savedmodels.save_slow` saves."""

from __future__ import annotations

import itertools
from pathlib import Path

from modelserver import eventually


class HeldRuns:
    """The held runs of one model.

    Args:
        directory: of the model's version.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)

    def hold(self) -> float:
        """Return the `seconds` of a run that waits."""
        return -float(next(self._numbers))

    def begun(self, held: float) -> bool:
        """Whether the run is there, and waits."""
        return (self._directory / f"begun{-held:.0f}").exists()

    def wait_for(self, held: float) -> None:
        """Wait until the run is there."""
        eventually("the held run has begun", lambda: self.begun(held))

    def let_go(self, held: float) -> None:
        """Let the run end."""
        (self._directory / f"go{-held:.0f}").touch()
