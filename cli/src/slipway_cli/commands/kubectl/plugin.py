"""`kubectl slipway`: follows and steers the rollouts of Models."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import Annotated, Any, Final, NoReturn

import typer

from slipway_cli.commands.kubectl import options
from slipway_cli.commands.kubectl.looking import history, status
from slipway_cli.commands.kubectl.steering import abort, approve, promote, retry, rollback
from slipway_cli.commands.program import application, examples, run, show_version
from slipway_cli.errors import CliError
from slipway_cli.output import write

LOOK: Final = "Look"
STEER: Final = "Steer"
_NO_FILES: Final = ":4"
"""ShellCompDirectiveNoFileComp, as kubectl's completion knows it."""

app = application(
    "kubectl slipway",
    examples(
        ("watch a rollout", "kubectl slipway status digits --watch"),
        ("give all traffic to the new version now", "kubectl slipway promote digits"),
        ("go back to the version before", "kubectl slipway rollback digits"),
        then="Follow and steer the rollouts of Models.",
    ),
    completion=False,
)


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=show_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


for _function, _panel, _usual in (
    (
        status,
        LOOK,
        (
            ("now", "kubectl slipway status digits"),
            ("as it changes", "kubectl slipway status digits --watch"),
            ("for a program", "kubectl slipway status digits -o json"),
        ),
    ),
    (
        history,
        LOOK,
        (
            ("the last transitions", "kubectl slipway history digits"),
            ("of another namespace", "kubectl slipway history digits -n vision"),
            ("for a program", "kubectl slipway history digits -o json"),
        ),
    ),
    (
        promote,
        STEER,
        (
            ("the version on its way", "kubectl slipway promote digits"),
            ("a certain version", "kubectl slipway promote digits --version 7"),
            ("in another namespace", "kubectl slipway promote digits -n vision"),
        ),
    ),
    (
        approve,
        STEER,
        (
            ("the step that waits", "kubectl slipway approve digits"),
            ("all steps up to the second", "kubectl slipway approve digits --step 2"),
            ("of a certain version", "kubectl slipway approve digits --version 7 --step 1"),
        ),
    ),
    (
        abort,
        STEER,
        (
            ("the transition under way", "kubectl slipway abort digits"),
            ("only if it is to version 7", "kubectl slipway abort digits --version 7"),
            ("in another namespace", "kubectl slipway abort digits -n vision"),
        ),
    ),
    (
        retry,
        STEER,
        (
            ("the version that failed", "kubectl slipway retry digits"),
            ("a certain version", "kubectl slipway retry digits --version 7"),
            ("in another namespace", "kubectl slipway retry digits -n vision"),
        ),
    ),
    (
        rollback,
        STEER,
        (
            ("to the version before", "kubectl slipway rollback digits"),
            ("to a certain version", "kubectl slipway rollback digits --to 6"),
            ("no longer stay with it", "kubectl slipway rollback digits --undo"),
        ),
    ),
):
    app.command(
        _function.__name__,
        rich_help_panel=_panel,
        short_help=_function.__doc__,
        help=examples(*_usual, then=_function.__doc__ or ""),
    )(_function)


def main() -> NoReturn:
    """Run the plugin."""
    run(app, "kubectl slipway")


def complete() -> NoReturn:
    """Print what kubectl's completion may offer: commands, then names of Models."""
    for word in completions(sys.argv[1:]):
        write(word)
    write(_NO_FILES)
    sys.stdout.flush()
    os._exit(0)


def completions(words: list[str]) -> list[str]:
    """Return what may stand in the place of the last word."""
    *before, current = words or [""]
    names = [word for word in before if not word.startswith("-")]
    if not names:
        group: Any = typer.main.get_command(app)
        found = list(group.commands)
    else:
        given = {flag: value for flag, value in pairwise(before) if flag.startswith("-")}
        namespace = given.get("-n") or given.get("--namespace") or ""
        try:
            found = options.cluster(
                namespace, given.get("--context", ""), given.get("--kubeconfig", "")
            ).names()
        except CliError:
            found = []
    return [word for word in found if word.startswith(current)]
