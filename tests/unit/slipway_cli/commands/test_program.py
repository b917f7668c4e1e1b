"""Manners: one sentence for whatever is wrong, exit codes, help that is there at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from slipway_cli.commands import app as slipway_app
from slipway_cli.commands.kubectl import plugin
from slipway_cli.commands.program import application
from slipway_cli.errors import ExitCode

ROOT = Path(__file__).parents[4]
SLOW = ("httpx", "grpc", "kubernetes", "obstore", "google.protobuf", "slipway_sync", "urllib3")


def slipway(*arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slipway_cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **env},
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pred"], "Did you mean 'predict'?"),
        (["predict", "m", "--sever", "x"], "there is no option --sever: did you mean --server?"),
        (["predict"], "Missing argument 'MODEL'"),
        (["predict", "m"], "give the instances in one of"),
        (["predict", "m", "-j", "[1]", "--text", "x"], "give the instances in one of"),
        (["predict", "m", "-j", "/nowhere"], "/nowhere cannot be read: No such file or directory"),
        (["predict", "m", "-j", "[1"], "--json-instances is not JSON"),
        (["predict", "m", "-j", "[1]", "--version", "-1"], "--version"),
        (["predict", "m", "-j", "[1]", "-H", "x"], "write NAME: VALUE"),
        (["predict", "m", "-j", "[1]", "-s", "gprc://x"], "did you mean grpc://"),
        (
            ["predict", "m", "-j", "[1]", "-s", "https://x", "--ca-file", "/no"],
            "--ca-file /no cannot",
        ),
        (["predict", "m", "--image", "/nowhere.png"], "/nowhere.png cannot be read"),
        (["predict", "m", "-j", "[1]", "-o", "tabel"], "tabel"),
        (["signatures", "/nowhere"], "/nowhere does not exist"),
        (["signatures", "grpc://h:1"], "grpc://h:1/v1/models/NAME"),
        (["verify", "s4://b/m"], "s4:// is no kind of store"),
        (["verify", "pvc://c/m"], "only its pods can read"),
        (["verify", "/etc/hostname"], "is a file, not an export's directory"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_sentence(arguments: list[str], says: str) -> None:
    done = slipway(*arguments)
    assert says in done.stderr
    assert done.stderr.startswith("slipway: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    assert done.returncode == ExitCode.USAGE


def test_nobody_there_is_another_code() -> None:
    for server in ("http://127.0.0.1:1", "grpc://127.0.0.1:1"):
        done = slipway("predict", "m", "-j", "[1]", "-s", server)
        assert (done.returncode, done.stderr.count("\n")) == (ExitCode.UNAVAILABLE, 1)
        assert f"no connection to {server}" in done.stderr


def test_the_environment_names_the_server() -> None:
    done = slipway("predict", "m", "-j", "[1]", SLIPWAY_SERVER="http://127.0.0.1:2")
    assert "http://127.0.0.1:2" in done.stderr


def test_a_reader_that_goes_is_no_error() -> None:
    command = f"{sys.executable} -m slipway_cli --help | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)  # noqa: S602
    assert done.stderr == ""


def commands() -> list[tuple[str, Any]]:
    groups: list[Any] = [typer.main.get_command(app) for app in (slipway_app.app, plugin.app)]
    return [item for group in groups for item in group.commands.items()]


@pytest.mark.parametrize("command", [command for _, command in commands()], ids=lambda c: c.name)
def test_every_option_and_argument_is_described_and_has_its_group(command: Any) -> None:
    for param in command.params:
        assert param.help, param.name
        assert param.help.endswith("."), param.name
        if param.param_type_name == "option" and param.name != "help":
            assert param.rich_help_panel, param.name


@pytest.mark.parametrize("app", [slipway_app.app, plugin.app], ids=["slipway", "kubectl slipway"])
@pytest.mark.parametrize("command", [None, *(name for name, _ in commands())])
def test_help_begins_with_three_usual_command_lines(
    app: typer.Typer,
    command: str | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    name = "slipway" if app is slipway_app.app else "kubectl slipway"
    group: Any = typer.main.get_command(app)
    if command is not None and command not in group.commands:
        return
    with pytest.raises((SystemExit, typer.Exit)):
        app([command, "--help"] if command else ["--help"], prog_name=name)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0].startswith(f"Usage: {name}")
    shown = [line for line in lines[1:8] if line.startswith(f"{name} ")]
    assert len(shown) == 3
    assert lines[1].startswith("# ")


def test_help_and_completion_import_nothing_slow() -> None:
    """What takes the time of a help text are the libraries of its commands."""
    code = (
        "import sys\n"
        "from slipway_cli.commands.app import app\n"
        "try:\n"
        "    app(['predict', '--help'], standalone_mode=False)\n"
        "finally:\n"
        "    print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stderr.split()
    assert "typer" in loaded
    assert [name for name in SLOW if name in loaded] == []


def test_the_version() -> None:
    done = slipway("--version")
    assert done.stdout == "slipway 0.1.0\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_each_shell(shell: str) -> None:
    done = slipway("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert "slipway" in done.stdout
    words = {"COMP_WORDS": "slipway p", "COMP_CWORD": "1"}
    if shell == "bash":
        found = slipway(**words, _SLIPWAY_COMPLETE="complete_bash")
        assert "predict" in found.stdout.split()


def test_an_application_without_commands_has_no_traceback() -> None:
    app = application("x", "help")
    assert app.info.name == "x"
