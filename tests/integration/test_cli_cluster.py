"""`kubectl slipway` at a real API server, and batches' files in a real object store."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import tools
from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from slipway_cli.batch.inputs import input_files
from slipway_cli.batch.objects import ObjectAccess, upload
from slipway_cli.errors import CliError, UsageError
from slipway_operator.api.verbs import read_verbs
from world import BUCKET, Kube, eventually

TIMEOUT = 90
SPEC = {"source": {"uri": "s3://models/digits"}}


def row(version: int, state: str, weight: int) -> dict[str, Any]:
    since = "2026-01-02T03:04:05Z"
    return {"version": version, "state": state, "weight": weight, "since": since}


ROLLOUT = {
    "version": 7,
    "key": "a",
    "stable": 6,
    "stableKey": "b",
    "plan": "c",
    "step": 1,
    "steps": 2,
    "weight": 10,
    "reached": 0,
    "since": "2026-01-02T03:04:05Z",
}
STATUS = {
    "phase": "Loading 0/2",
    "serving": "6",
    "target": "7",
    "ready": "2/2",
    "versions": [row(7, "Loading", 0), row(6, "Available", 100), row(5, "Retired", 0)],
}


class Plugin:
    """`kubectl slipway` in a namespace of its own, as kubectl itself starts it."""

    def __init__(self, kube: Kube, kubeconfig: Path) -> None:
        self.kube = kube
        self.namespace = kube.namespace()
        self.kubeconfig = kubeconfig
        folders = (Path(sys.executable).parent, tools.find("kubectl").parent)
        path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "KUBECONFIG": str(kubeconfig)}

    def command(self, *arguments: str) -> list[str]:
        return ["kubectl", "slipway", *arguments, "-n", self.namespace]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env={**self.environment, **environment},
        )

    def says(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, name: str, **status: Any) -> None:
        self.kube.create_model(self.namespace, name, SPEC)
        self.show(name, **{**STATUS, **status})

    def show(self, name: str, **status: Any) -> None:
        """Write a status, as the operator does."""
        self.kube.custom.patch_namespaced_custom_object_status(
            "slipway.dev", "v1alpha1", self.namespace, "models", name, {"status": status}
        )

    def annotations(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.kube.model(self.namespace, name)["metadata"].get("annotations")
        return found or {}


@pytest.fixture
def plugin(kube: Kube, controlplane: ControlPlane) -> Plugin:
    return Plugin(kube, controlplane.kubeconfig)


def test_a_rollout_is_shown(plugin: Plugin) -> None:
    plugin.create("digits")
    shown = plugin.says("status", "digits").splitlines()
    assert shown[0] == f"{plugin.namespace}/digits: Loading 0/2"
    assert "  serving: 6" in shown
    assert [line.split()[:2] for line in shown[-3:]] == [
        ["7", "Loading"],
        ["6", "Available"],
        ["5", "Retired"],
    ]
    found = json.loads(plugin.says("status", "digits", "-o", "json"))
    assert found["status"]["target"] == "7"
    done = {"from": "5", "to": "6", "cause": "NewExport", "startedAt": "2026-01-02T03:04:05Z"}
    assert plugin.run("history", "digits").stderr == "digits has no transitions behind it\n"
    plugin.show("digits", history=[{**done, "outcome": "Completed", "duration": "42s"}])
    _, told = plugin.says("history", "digits").splitlines()
    assert told.split() == [*["5", "6"], told.split()[2], "ago", "42s", "Completed", "NewExport"]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["promote", "digits"], "7"),
        (["approve", "digits", "--step", "2"], "7/2"),
        (["approve", "digits"], "7/1"),
        (["abort", "digits"], "7"),
        (["retry", "digits", "--version", "6"], "6"),
        (["rollback", "digits"], "5"),
        (["rollback", "digits", "--to", "6"], "6"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else given,
)
def test_a_verb_is_what_the_operator_reads(
    plugin: Plugin, arguments: list[str], value: str
) -> None:
    plugin.create("digits", rollout=ROLLOUT)
    for _ in range(2):
        told = json.loads(plugin.says(*arguments, "-o", "json"))
        assert plugin.annotations("digits") == {f"slipway.dev/{arguments[0]}": value}
        assert told["value"] == value
    read = read_verbs(plugin.annotations("digits"))
    assert read.problems == ()
    assert getattr(read, arguments[0]).version == int(value.partition("/")[0])


def test_an_abort_that_was_acted_on_can_be_asked_for_again(plugin: Plugin) -> None:
    plugin.create("digits")
    plugin.says("abort", "digits")
    plugin.show("digits", honoured={"abort": "7/1"})
    plugin.says("abort", "digits")
    assert plugin.annotations("digits") == {"slipway.dev/abort": "7/2"}


def test_a_pin_is_lifted(plugin: Plugin) -> None:
    plugin.create("digits")
    nothing = plugin.run("rollback", "digits", "--undo")
    assert (nothing.returncode, "nothing to lift" in nothing.stderr) == (2, True)
    plugin.says("rollback", "digits")
    assert "  pinned:  5" in plugin.says("status", "digits").splitlines()
    plugin.says("rollback", "digits", "--undo")
    assert plugin.annotations("digits") == {}


def test_a_pipe_gets_a_line_for_each_change_until_the_model_is_deleted(plugin: Plugin) -> None:
    plugin.create("digits")
    command = plugin.command("status", "digits", "--watch")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=plugin.environment
    ) as process:
        try:
            assert process.stdout is not None
            assert (
                process.stdout.readline() == "digits: Loading 0/2, serving 6, target 7, ready 2/2\n"
            )
            plugin.show("digits", phase="Available", serving="7")
            assert process.stdout.readline() == "digits: Available, serving 7, ready 2/2\n"
            plugin.kube.custom.delete_namespaced_custom_object(
                "slipway.dev", "v1alpha1", plugin.namespace, "models", "digits"
            )
            _, said = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    assert (process.returncode, said) == (1, "kubectl slipway: digits was deleted\n")


def test_a_terminal_gets_a_view_that_is_drawn_anew(plugin: Plugin) -> None:
    plugin.create("digits")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        plugin.command("status", "digits", "--watch"),
        stdout=follower,
        stderr=follower,
        stdin=follower,
        env={**plugin.environment, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(follower)
    os.set_blocking(leader, False)
    screen = bytearray()

    def shows(text: str) -> bool:
        try:
            while piece := os.read(leader, 1 << 16):
                screen.extend(piece)
        except (BlockingIOError, OSError):
            pass
        return text.encode() in screen

    try:
        eventually("the view is there", lambda: shows("Loading 0/2"), state=lambda: bytes(screen))
        plugin.show("digits", phase="Shifting 1/2")
        eventually("it is drawn anew", lambda: shows("Shifting 1/2"), state=lambda: bytes(screen))
        process.send_signal(2)
        # A terminal goes on reading: a program that draws would wait for it.
        eventually("it ends", lambda: (shows(""), process.poll() is not None)[1])
        assert process.returncode == 130
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert b"Traceback" not in screen


def test_what_is_wrong_is_one_sentence(plugin: Plugin) -> None:
    plugin.create("digits")
    for arguments, code, says in (
        (["status", "digist"], 2, f"{plugin.namespace} has no Model digist: did you mean digits?"),
        (["promote", "digits", "--version", "9"], 2, "digits has no version 9: it has 5, 6, 7"),
        (["status", "digits", "--context", "nowhere"], 1, "the kubeconfig has no context nowhere"),
        (["statsu", "digits"], 2, "Did you mean 'status'?"),
    ):
        done = plugin.run(*arguments)
        assert says in done.stderr
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (code, 1, "")


def limited(plugin: Plugin, path: Path) -> Path:
    """A kubeconfig of somebody without any permission."""
    core = plugin.kube.core
    core.create_namespaced_service_account(plugin.namespace, {"metadata": {"name": "guest"}})
    token = core.create_namespaced_service_account_token(
        "guest", plugin.namespace, {"spec": {"audiences": None}}
    ).status.token
    settings = yaml.safe_load(plugin.kubeconfig.read_text())
    settings["users"] = [
        {"name": user["name"], "user": {"token": token}} for user in settings["users"]
    ]
    path.write_text(yaml.safe_dump(settings))
    return path


def test_who_may_not_is_told_what_to_ask_for(plugin: Plugin, tmp_path: Path) -> None:
    plugin.create("digits")
    config = limited(plugin, tmp_path / "guest")
    for arguments in (["status", "digits"], ["abort", "digits"]):
        done = plugin.run(*arguments, KUBECONFIG=str(config))
        assert done.returncode == 1
        assert "forbidden" in done.stderr
        assert "ask for the ClusterRole" in done.stderr
        assert done.stderr.count("\n") == 1


def test_kubectl_completes_commands_and_names(plugin: Plugin) -> None:
    plugin.create("digits")
    plugin.create("double")
    for words, found in (
        (["ro"], ["rollback", ":4"]),
        (["-n", plugin.namespace, "status", "dig"], ["digits", ":4"]),
        (["status", "-n", plugin.namespace, ""], ["digits", "double", ":4"]),
        (["-n", "nowhere", "status", ""], [":4"]),
    ):
        done = subprocess.run(
            ["kubectl_complete-slipway", *words],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
            env=plugin.environment,
        )
        assert done.stdout.split() == found
        assert done.stderr == ""


@pytest.fixture
def store(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> ObjectAccess:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    return ObjectAccess(s3.endpoint, "us-east-1")


def test_rows_come_from_an_object_store_and_answers_go_there(
    store: ObjectAccess, tmp_path: Path
) -> None:
    prefix = base64.b32encode(os.urandom(5)).decode().lower()
    file = tmp_path / "rows.jsonl"
    for key, text in (("b", "2\n"), ("a", "1\n" * 500_000), ("sub/c", "3\n")):
        file.write_text(text)
        upload(f"s3://{BUCKET}/{prefix}/{key}.jsonl", store, file)
    found = input_files([f"s3://{BUCKET}/{prefix}/*.jsonl"], store)
    assert [one.name for one in found] == [f"s3://{BUCKET}/{prefix}/{key}.jsonl" for key in "ab"]
    assert found[0].size == 1_000_000
    with found[0].open() as content:
        assert content.read() == b"1\n" * 500_000
    deep = input_files([f"s3://{BUCKET}/{prefix}/**/*.jsonl"], store)
    assert len(deep) == 3
    with pytest.raises(UsageError, match="matches no object"):
        input_files([f"s3://{BUCKET}/{prefix}/*.csv"], store)
    with pytest.raises(UsageError, match="does not exist"):
        input_files([f"s3://{BUCKET}/{prefix}/none.jsonl"], store)
    with pytest.raises(CliError, match="cannot be reached"):
        input_files([f"s3://{BUCKET}/{prefix}/a.jsonl"], ObjectAccess("http://127.0.0.1:1", "x"))
