"""A server under --landlock: it serves, and what its model reads is its own folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelserver import ModelServer, eventually, free_port, running
from slipway_server.app import landlock
from slipway_server.errors import ServingError

SECRET = "the password of the database"


def save_reader(directory: Path) -> None:
    """Save a model that returns what is in the files that a request names, as a malicious one could."""
    import tensorflow as tf

    class Reader(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="path")])  # type: ignore[untyped-decorator]
        def call(self, path: Any) -> Any:
            return {"text": tf.map_fn(tf.io.read_file, path)}

    module = Reader()
    tf.saved_model.save(module, str(directory), signatures={"serving_default": module.call})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("landlock")
    save_reader(root / "models" / "m" / "1")
    (root / "models" / "m" / "1" / "word").write_text("mine")
    (root / "secret").write_text(SECRET)
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[ModelServer]:
    flags = (
        "--model_name=m",
        f"--model_base_path={root}/models/m",
        "--landlock",
        f"--termination_log={root}/termination-log",
        f"--grpc_socket_path={root}/rpc.sock",
    )
    with running(root, *flags, "--drain_seconds=0", env={"PASSWORD": SECRET}) as server:
        if not _supported():
            server.process.wait(90)
        else:
            server.wait_ready()
        yield server


def _supported() -> bool:
    try:
        return landlock.supported_version() > 0
    except ServingError:
        return False


def _read(server: ModelServer, path: str) -> tuple[int, str]:
    answer = server.predict("m", {"instances": [path]})
    return answer.status_code, answer.text


def test_a_model_reads_its_own_folder_and_no_other(server: ModelServer, root: Path) -> None:
    if not _supported():
        assert server.process.returncode == 255
        assert "cannot be restricted with Landlock" in server.log_path.read_text()
        return
    assert _read(server, f"{root}/models/m/1/word") == (200, '{"predictions":["mine"]}')
    (root / "models" / "m" / "1" / "link").symlink_to(root / "secret")
    for path in (
        f"{root}/secret",
        f"{root}/models/m/1/link",
        f"{root}/models/m/1/../../../secret",
        "/proc/self/environ",
        f"/proc/{server.process.pid}/environ",
        f"/proc/self/root{root}/secret",
        "/etc/passwd",
    ):
        status, text = _read(server, path)
        assert status >= 400, path
        assert SECRET not in text
        assert "denied" in text.lower(), text


def test_the_server_itself_misses_nothing(server: ModelServer, root: Path) -> None:
    """New versions are found and loaded; metrics and the drain read /proc."""
    if not _supported():
        return
    hidden = root / "models" / "m" / ".incoming"
    shutil.copytree(root / "models" / "m" / "1", hidden)
    hidden.rename(root / "models" / "m" / "2")
    eventually("2 is loaded", lambda: server.states("m").get(2) == "AVAILABLE")
    metrics = server.get("/monitoring/prometheus/metrics").text
    assert "process_open_fds" in metrics
    assert "process_resident_memory_bytes" in metrics
    assert [line for line in server.log if line["level"] not in {"info", "warning"}] == []
    assert (root / "rpc.sock").is_socket()
    assert server.terminate() == 0
    [end] = server.events("stopping")
    assert "no connection left" in end["reason"] or "drain_seconds over" in end["reason"], end
    assert not (root / "rpc.sock").exists()


def test_a_start_that_cannot_be_restricted_ends_with_one_sentence(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "slipway_server", f"--port={free_port()}", "--landlock")
    base = f"--model_base_path={tmp_path}/absent"
    done = subprocess.run((*command, base), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 255
    assert done.stdout.startswith(
        "Failed to start server. Error: FAILED_PRECONDITION: --landlock: this process cannot be restricted with "
        "Landlock: "
    )
    assert "Traceback" not in done.stderr
    if _supported():
        assert f"{tmp_path}/absent cannot be opened: No such file or directory" in done.stdout
