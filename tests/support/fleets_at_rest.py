"""Fleets of the simulated cluster in which everything has happened that happens by itself."""

from typing import Any

from fleet import Fleet


def run(fleet: Fleet, rounds: int = 40) -> Fleet:
    """Let everything happen that happens without time going on."""
    for _ in range(rounds):
        fleet.poll()
        fleet.operate()
        list(fleet.turn())
    return fleet


def serving(version: int = 3, **edits: Any) -> Fleet:
    fleet = Fleet()
    fleet.edit(**edits)
    fleet.upload(version)
    return run(fleet)
