"""Runs a command line: one sentence on stderr and an exit code for whatever goes wrong."""

from __future__ import annotations

import contextlib
import os
import sys
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any, NoReturn

import typer
from typer.exceptions import TyperException

from slipway_cli.errors import CliError, ExitCode

_BROKEN_PIPE = 128 + 13


def application(name: str, help_text: str, *, completion: bool = True) -> typer.Typer:
    """Return a command line without commands yet."""
    return typer.Typer(
        name=name,
        help=help_text,
        no_args_is_help=True,
        add_completion=completion,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def examples(*lines: tuple[str, str], then: str = "") -> str:
    """Return a help text: one sentence, and the usual command lines.

    Args:
        lines: What each does, and itself.
        then: What stands below them.
    """
    shown = "\n".join(f"  [dim]# {what}[/dim]\n  {_escaped(line)}" for what, line in lines)
    return f"\b\n{shown}\n\n{then}" if then else f"\b\n{shown}"


def show_version(asked: bool) -> None:
    """Print the version and end, where it was asked for."""
    if asked:
        sys.stdout.write(f"slipway {version('slipway-cli')}\n")
        raise typer.Exit


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run a command line and end the process with one of ExitCode."""
    code = _outcome(app, name)
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.flush()
    # The threads of the object store library and of gRPC may still answer to a loop that is gone: an interpreter that
    # is being taken down aborts when it meets them, and another exit code would be reported.
    os._exit(code)


def _outcome(app: typer.Typer, name: str) -> int:
    try:
        code = app(prog_name=name, standalone_mode=False)
    except CliError as error:
        return _failed(name, str(error), error.code)
    except TyperException as error:
        # Without any argument, the help is printed, and there is nothing to say.
        if not error.format_message():
            return ExitCode.USAGE
        return _failed(name, _usage(error), ExitCode.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _failed(name, "interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        return _BROKEN_PIPE  # The reader has gone, as `head` does.
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(name, f"{where}{error.strerror or error}", ExitCode.USAGE)
    return code if isinstance(code, int) else ExitCode.DONE


def _failed(name: str, sentence: str, code: int) -> int:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{name}: {sentence}\n")
    return code


def _usage(error: TyperException) -> str:
    """What is wrong with the command line, and where help is."""
    message = error.format_message().rstrip(".")
    context: Any = getattr(error, "ctx", None)
    option: str | None = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        message = f"there is no option {option}"
        known = [name for param in context.command.params for name in param.opts] if context else []
        near = get_close_matches(option, known, 1, 0.5)
        if near:
            return f"{message}: did you mean {near[0]}?"
    if message.endswith("?") or context is None:
        return message
    return f"{message}: see {context.command_path} --help"


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
