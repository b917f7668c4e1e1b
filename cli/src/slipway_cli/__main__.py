"""The program `slipway`."""

from __future__ import annotations

from typing import NoReturn

from slipway_cli.commands.app import app
from slipway_cli.commands.program import run


def main() -> NoReturn:
    """Run the command line."""
    run(app, "slipway")


if __name__ == "__main__":
    main()
