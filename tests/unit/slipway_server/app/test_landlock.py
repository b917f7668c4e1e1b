"""Landlock: what the server may still open, held by the kernel itself where it can."""

from __future__ import annotations

import ctypes
import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway_server.app import landlock
from slipway_server.app.landlock import Access, Rule, why_not
from slipway_server.app.landlock_paths import Installation, rules
from slipway_server.errors import ServingError
from slipway_server.settings import command_line
from slipway_server.settings.server import Settings, settings

HERE = Installation(prefixes=("/venv", "/python"), package="/site", devices=("/dev/nvidia0",))


def _settings(*arguments: str) -> Settings:
    return settings(command_line.parse(arguments).values, cpus=2)


def _granted(*arguments: str) -> dict[str, Access]:
    found: dict[str, Access] = {}
    for rule in rules(_settings("--landlock", *arguments), HERE):
        found[rule.path] = found.get(rule.path, Access(0)) | rule.access
    return found


def _can(granted: dict[str, Access], path: str, access: Access) -> bool:
    return any(
        access in allowed
        for at, allowed in granted.items()
        if path == at or path.startswith(at.rstrip("/") + "/")
    )


def test_models_are_read_and_nothing_else_of_anybody() -> None:
    granted = _granted("--model_base_path=/models/m")
    assert _can(granted, "/models/m/1/saved_model.pb", Access.READ_FILE)
    for path in ("/models", "/models/n/1/x", "/", "/home/u/.ssh/id", "/run/x", "/etc/passwd"):
        assert not _can(granted, path, Access.READ_FILE), path
    for path in ("/proc/self/environ", "/proc/self/mem", "/proc/1/cmdline", "/proc/self/root/x"):
        assert not _can(granted, path, Access.READ_FILE), path
    writable = {path for path, access in granted.items() if Access.WRITE_FILE in access}
    assert all(path.startswith("/dev/") for path in writable), writable


def test_what_flags_name_can_be_used() -> None:
    granted = _granted(
        "--model_config_file=/etc/models/models.config",
        "--model_roots=/a,/b",
        "--ssl_config_file=/tls/ssl.pbtxt",
        "--grpc_socket_path=/run/serving/rpc.sock",
        "--termination_log=/dev/termination-log",
        "--landlock_paths=/opt/ops,/log:rw",
    )
    for path in ("/a/m/1/x", "/b/x", "/etc/models/..data/models.config", "/tls/x", "/opt/ops/x"):
        assert _can(granted, path, Access.READ_FILE), path
        assert not _can(granted, path, Access.WRITE_FILE), path
    assert _can(granted, "/run/serving/rpc.sock", Access.MAKE_SOCK | Access.REMOVE_FILE)
    assert not _can(granted, "/run/serving/rpc.sock", Access.READ_FILE)
    assert _can(granted, "/dev/termination-log", Access.WRITE_FILE | Access.TRUNCATE)
    assert _can(granted, "/log/x", Access.MAKE_REG | Access.MAKE_DIR | Access.WRITE_FILE)


def test_what_a_source_plug_in_fetches_has_a_directory_that_is_named() -> None:
    uri = "--model_base_path=file+index://there/m"
    with pytest.raises(ServingError) as refused:
        _granted(uri)
    assert "needs --source_directory" in refused.value.message
    granted = _granted(uri, "--source_directory=/fetched")
    assert _can(granted, "/fetched/m/1", Access.MAKE_DIR | Access.WRITE_FILE | Access.REMOVE_DIR)


def test_a_config_file_alone_says_too_little() -> None:
    with pytest.raises(ServingError) as refused:
        _granted("--model_config_file=/c")
    assert str(refused.value) == (
        "INVALID_ARGUMENT: --landlock with --model_config_file needs --model_roots: what may be read is fixed at the "
        "start, and the file may change"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.ENOSYS, "this kernel has none; Linux 5.13 or newer is needed"),
        (errno.EOPNOTSUPP, "it was not enabled when this kernel started; add landlock to its lsm="),
        (errno.EPERM, "the container's seccomp profile forbids its system calls"),
        (errno.EINVAL, "the kernel says: Invalid argument"),
    ],
)
def test_why_a_kernel_cannot_do_it(error: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert words in why_not(error)

    def fails(*_arguments: Any) -> int:
        ctypes.set_errno(error)
        return -1

    monkeypatch.setattr(landlock, "_syscall", fails)
    with pytest.raises(ServingError) as refused:
        landlock.restrict([])
    assert str(refused.value).startswith(
        f"FAILED_PRECONDITION: --landlock: this process cannot be restricted with Landlock: {words}"
    )


def test_the_kernel_reads_the_structures_as_they_are_here() -> None:
    assert ctypes.sizeof(landlock._PathBeneathAttr) == 12
    assert ctypes.sizeof(landlock._RulesetAttr) == 16


# ---- in a process of its own, as nothing takes it back ---------------------------------------------------------------

RESTRICTED = """
import json, os, socket, subprocess, sys, threading
from slipway_server.app import landlock
from slipway_server.app.landlock import READ, RUN, WRITE, Rule
from slipway_server.errors import ServingError

def attempt(act):
    try:
        act()
    except OSError as error:
        return error.errno
    return 0

readable, writable, closed = sys.argv[1:4]
if sys.argv[4:] == ["late"]:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
listener = socket.create_server(("127.0.0.1", 0))
rules = [Rule(readable, READ, required=True), Rule(writable, WRITE), Rule("/proc/self/status", READ)]
rules += [Rule(path, RUN) for path in ("/usr", "/lib", "/lib64", sys.prefix, sys.base_prefix)]
try:
    version = landlock.restrict(rules)
except ServingError as error:
    print(json.dumps({"error": str(error), "open": attempt(lambda: open(closed + "/file"))}))
    sys.exit()
found = {"version": version}
found["read"] = attempt(lambda: open(readable + "/file").read())
found["write below read"] = attempt(lambda: open(readable + "/new", "w"))
found["append"] = attempt(lambda: open(readable + "/file", "a"))
found["truncate"] = attempt(lambda: os.truncate(readable + "/file", 0))
found["remove"] = attempt(lambda: os.remove(readable + "/file"))
found["write"] = attempt(lambda: open(writable + "/new", "w"))
found["make a folder"] = attempt(lambda: os.makedirs(writable + "/a/b"))
found["closed"] = attempt(lambda: open(closed + "/file"))
found["list closed"] = attempt(lambda: os.listdir(closed))
found["link"] = attempt(lambda: open(readable + "/link"))
found["up"] = attempt(lambda: open(readable + "/../closed/file"))
found["through proc"] = attempt(lambda: open("/proc/self/root" + closed + "/file"))
found["environment"] = attempt(lambda: open("/proc/self/environ"))
found["status"] = attempt(lambda: open("/proc/self/status").read())
found["connect"] = attempt(lambda: socket.create_connection(listener.getsockname(), 10))
found["listen"] = attempt(lambda: socket.create_server(("127.0.0.1", 0)))
found["child"] = subprocess.run(["cat", closed + "/file"], capture_output=True).returncode
thread = []
one = threading.Thread(target=lambda: thread.append(attempt(lambda: open(closed + "/file"))))
one.start(); one.join()
found["thread"] = thread[0]
print(json.dumps(found))
"""


def _restricted(tmp_path: Path, *more: str) -> dict[str, Any]:
    for name in ("readable", "writable", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("text")
    (tmp_path / "readable" / "link").symlink_to("../closed/file")
    folders = [str(tmp_path / name) for name in ("readable", "writable", "closed")]
    done = subprocess.run(
        [sys.executable, "-c", RESTRICTED, *folders, *more],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _version() -> int:
    try:
        return landlock.supported_version()
    except ServingError:
        return 0


def test_the_kernel_holds_it(tmp_path: Path) -> None:
    found = _restricted(tmp_path)
    version = _version()
    if not version:
        assert "cannot be restricted with Landlock" in found["error"]
        assert found["open"] == 0
        return
    denied = errno.EACCES
    assert found == {
        "version": version,
        "read": 0,
        "write below read": denied,
        "append": denied,
        "truncate": denied if version >= 3 else 0,
        "remove": denied,
        "write": 0,
        "make a folder": 0,
        "closed": denied,
        "list closed": denied,
        "link": denied,
        "up": denied,
        "through proc": denied,
        "environment": denied,
        "status": 0,
        "connect": denied if version >= 4 else 0,
        "listen": 0,
        "child": 1,
        "thread": denied,
    }


def test_it_is_too_late_once_there_are_threads(tmp_path: Path) -> None:
    """Each thread has its own restrictions: those that run already would have none."""
    found = _restricted(tmp_path, "late")
    assert found["open"] == 0
    if _version():
        assert "other threads of this process are running already" in found["error"]


def test_a_model_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "_create", lambda _handled, _version: 1_000_000)
    monkeypatch.setattr(landlock.os, "close", lambda _descriptor: None)
    monkeypatch.setattr(landlock.os, "listdir", lambda _path: ["1"])
    monkeypatch.setattr(landlock, "supported_version", lambda: 7)
    with pytest.raises(ServingError) as refused:
        landlock.restrict(
            [Rule("/optional", Access.READ_FILE), Rule("/m", Access(1), required=True)]
        )
    assert str(refused.value).endswith(
        "with Landlock: /m cannot be opened: No such file or directory"
    )
