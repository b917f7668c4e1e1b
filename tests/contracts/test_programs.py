"""The manners that all programs share: help, version, one sentence for a mistake, documented exit codes."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from http_server import HttpHandler, LocalHttpServer
from modelserver import eventually, free_port

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
        usage: Exit code of a wrong command line.
        typo: A misspelt option, after what it belongs to.
        meant: What is suggested for it.
        usual: Words of the three usual command lines.
        slow: Packages that help does without.
    """

    name: str
    usage: int
    typo: tuple[str, ...]
    meant: str
    usual: tuple[str, ...]
    slow: tuple[str, ...]

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / self.name, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": "200", "TERMINAL_WIDTH": "200", **(env or {})},
        )


PROGRAMS = (
    Program(
        "slipway-operator",
        2,
        ("run", "--server-imge=x"),
        "--server-image",
        ("slipway-operator run", "--log-level=debug", "slipway-operator crd | kubectl apply"),
        ("kopf", "kubernetes", "aiohttp", "pydantic", "obstore"),
    ),
    Program(
        "slipway-sync",
        64,
        ("fetch", "--sorce=x"),
        "--source",
        ("slipway-sync index", "slipway-sync watch", "slipway-sync fetch"),
        ("kopf", "kubernetes", "tensorflow"),
    ),
    Program(
        "slipway-server",
        255,
        ("--model-bas_path=/m",),
        "--model_base_path",
        ("--model_name=digits", "--model_config_file=", "--enable_batching"),
        ("tensorflow", "numpy", "grpc"),
    ),
    Program(
        "slipway",
        2,
        ("predict", "m", "--sever=x"),
        "--server",
        ("slipway predict", "slipway signatures", "slipway verify"),
        ("grpc", "obstore", "slipway_sync"),
    ),
    Program(
        "kubectl-slipway",
        2,
        ("status", "m", "--namespac=x"),
        "--namespace",
        ("kubectl slipway status", "kubectl slipway promote", "kubectl slipway rollback"),
        ("kubernetes", "grpc"),
    ),
)
OPERATOR, SERVER = PROGRAMS[0], PROGRAMS[2]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.name)
def test_a_misspelt_option_is_one_sentence_with_the_right_one(program: Program) -> None:
    done = program.run(*program.typo)
    assert done.returncode == program.usage
    [sentence] = done.stderr.splitlines()
    assert sentence.endswith(f": did you mean {program.meant}?")
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.name)
def test_the_version_is_printed(program: Program) -> None:
    done = program.run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\b0\.1\.0\b", done.stdout)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.name)
def test_help_begins_with_the_usual_command_lines_and_imports_nothing_slow(
    program: Program,
) -> None:
    done = program.run("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    places = [done.stdout.index(words) for words in program.usual]
    assert places == sorted(places)
    assert max(places) < done.stdout.index("Print the version")
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert "re" in imported
    assert imported.isdisjoint(program.slow)


def test_every_option_is_described() -> None:
    import typer

    from slipway_cli.commands.app import app as slipway
    from slipway_cli.commands.kubectl.plugin import app as kubectl
    from slipway_operator.__main__ import app as operator
    from slipway_server.settings.flags import FLAGS
    from slipway_sync.agent.__main__ import app as agent

    assert [flag.name for flag in FLAGS if not flag.usage] == []
    for app in (operator, agent, slipway, kubectl):
        group = typer.main.get_command(app)
        for command in (group, *group.commands.values()):  # type: ignore[attr-defined]
            bare = [one.name for one in command.params if not getattr(one, "help", "")]
            assert bare == [], command.name


def test_bash_completes_the_flags_of_the_server() -> None:
    script = f"""eval "$('{BIN}/slipway-server' --help=completion)"
    complete -p slipway-server && compgen -W "$(complete -p slipway-server | sed "s/.*-W '//; s/'.*//")" -- --rest_api_p
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "--rest_api_port="


@pytest.mark.parametrize("name", ["slipway-operator", "slipway-sync", "slipway"])
def test_the_other_programs_show_their_completion(name: str) -> None:
    done = subprocess.run(
        [BIN / name, "--show-completion", "bash"], capture_output=True, text=True, check=False
    )
    assert "complete" in done.stdout, done.stderr


def test_help_into_a_closed_pipe_is_no_traceback() -> None:
    for program in PROGRAMS:
        done = subprocess.run(
            ["sh", "-c", f"'{BIN / program.name}' --help | true"],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert done.stderr == "", program.name


# ---- the operator and its cluster ------------------------------------------------------------------------------------

_KUBECONFIG = """apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{url}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
"""


class _Refusing(HttpHandler):
    def do_GET(self) -> None:  # noqa: N802 (the server's name)
        self.send_body(
            self.owner.status, b'{"message": "Unauthorized"}', {"Content-Type": "application/json"}
        )


class Refusing(LocalHttpServer):
    """An API server that answers every request with one status."""

    handler = _Refusing
    tls = None

    def __init__(self, status: int) -> None:
        self.status = status


def start_operator(kubeconfig: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    flags = ("--server-image=x", "--sync-image=y", "--port=0", *flags)
    return OPERATOR.run("run", *flags, env={"KUBECONFIG": str(kubeconfig)})


def test_an_operator_without_a_cluster_says_so(tmp_path: Path) -> None:
    done = start_operator(tmp_path / "none")
    assert done.returncode == 78
    assert done.stderr == (
        "slipway-operator: no cluster to work for: this is no pod with a ServiceAccount, and "
        f"{tmp_path}/none is no usable kubeconfig (there is no such file); set KUBECONFIG to the file of the cluster\n"
    )


def test_an_operator_whose_api_server_is_down_says_so(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "config").write_text(_KUBECONFIG.format(url=url))
    done = start_operator(tmp_path / "config")
    assert done.returncode == 69
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith(f"slipway-operator: the API server {url} cannot be reached (")
    assert sentence.endswith("; check that the cluster runs and that the kubeconfig names it")


@pytest.mark.parametrize(("status", "code"), [(401, 77), (403, 77), (503, 69), (404, 78)])
def test_an_operator_that_is_refused_says_so(tmp_path: Path, status: int, code: int) -> None:
    with Refusing(status) as api:
        (tmp_path / "config").write_text(_KUBECONFIG.format(url=api.url))
        done = start_operator(tmp_path / "config")
    assert done.returncode == code
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith(f"slipway-operator: the API server {api.url} ")


# ---- the server on a terminal ----------------------------------------------------------------------------------------


def test_the_server_on_a_terminal_logs_text_and_says_what_a_second_interrupt_does(
    tmp_path: Path,
) -> None:
    ours, theirs = pty.openpty()
    port = free_port()
    flags = (f"--port={port}", f"--model_base_path={tmp_path}", "--drain_seconds=300")
    process = subprocess.Popen(
        [BIN / "slipway-server", *flags], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    seen = b""

    def shows(words: bytes) -> bool:
        nonlocal seen
        with contextlib.suppress(BlockingIOError, OSError):
            seen += os.read(ours, 65536)
        return words in re.sub(rb"\x1b\[[0-9;]*m", b"", seen)

    try:
        eventually("its ports are open", lambda: shows(b"ports open"))
        assert b'{"' not in seen
        process.send_signal(signal.SIGINT)
        eventually("it says what a second one does", lambda: shows(b"a second Ctrl-C ends at once"))
        assert process.wait(90) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
