"""A version that crashes, hangs or eats memory when it is loaded ends with an error; the server goes on (§4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bad_models import save_aborting, save_hanging, save_hungry
from modelserver import ModelServer, eventually, running
from savedmodels import save_double

LIMIT = 2_000_000_000
TIMEOUT = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    save_double(root / "good" / "1", 1)
    save_aborting(root / "aborts" / "1")
    save_hungry(root / "hungry" / "1", 10**11)
    save_hungry(root / "greedy" / "1", LIMIT)
    save_hanging(root / "hangs" / "1")
    return root


def _config(root: Path, *names: str) -> str:
    models = "".join(
        f'config {{ name: "{name}" base_path: "{root}/{name}" model_platform: "tensorflow" }}'
        for name in names
    )
    path = root / f"{'-'.join(names)}.config"
    path.write_text(f"model_config_list {{ {models} }}")
    return f"--model_config_file={path}"


FLAGS = ("--drain_seconds=0", "--max_num_load_retries=0")


@pytest.fixture(scope="module")
def isolating(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    flags = (
        "--isolated_first_load=auto",
        f"--isolated_load_memory_bytes={LIMIT}",
        f"--load_timeout_seconds={TIMEOUT}",
        *FLAGS,
    )
    config = _config(models, "hangs", "aborts", "good", "hungry", "greedy")
    with running(tmp_path_factory.mktemp("server"), config, *flags) as server:
        yield server


def _state(server: ModelServer, model: str) -> tuple[str, str, str]:
    body = server.get(f"/v1/models/{model}").json()
    [one] = body.get("model_version_status") or [{"state": "", "status": {}}]
    return one["state"], one["status"].get("error_code", ""), one["status"].get("error_message", "")


def _ended(server: ModelServer, model: str) -> tuple[str, str]:
    eventually(f"{model} ends", lambda: _state(server, model)[0] == "END")
    return _state(server, model)[1:]


def _children(process: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        pid, (_state, parent, *_) = int(text.split()[0]), text.rpartition(")")[2].split()
        if int(parent) == process:
            found.append(pid)
    return found


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        (
            "aborts",
            "INTERNAL",
            (
                "Version 1 of model aborts was loaded in a child process, which crashed (SIGABRT): ",
                "Abort_op intentional failure; on purpose",
            ),
        ),
        (
            "hungry",
            "RESOURCE_EXHAUSTED",
            ("OOM when allocating tensor with shape[25000000000]", f"may use {LIMIT} bytes"),
        ),
        (
            "greedy",
            "RESOURCE_EXHAUSTED",
            ("OOM when allocating tensor with shape[500000000]", f"may use {LIMIT} bytes"),
        ),
        (
            "hangs",
            "DEADLINE_EXCEEDED",
            ("Version 1 of model hangs was still not loaded after ", "--load_timeout_seconds"),
        ),
    ],
)
def test_a_bad_version_ends_with_its_error_and_the_good_one_serves(
    isolating: ModelServer, model: str, code: str, words: tuple[str, ...]
) -> None:
    found, message = _ended(isolating, model)
    assert found == code, message
    assert [part for part in words if part not in message] == [], message
    eventually("the good model serves", lambda: _state(isolating, "good")[0] == "AVAILABLE")
    assert isolating.predict("good", {"instances": [1.0]}).json() == {"predictions": [3.0]}


def test_no_child_outlives_its_trial_nor_the_server(isolating: ModelServer, models: Path) -> None:
    for model in ("aborts", "hungry", "greedy", "hangs"):
        _ended(isolating, model)
    eventually("good serves", lambda: _state(isolating, "good")[0] == "AVAILABLE")
    # One that answered may wait for another order, but not for long.
    eventually("no child is left", lambda: not _children(isolating.process.pid), timeout=60)
    save_hanging(models / ".incoming")
    (models / ".incoming").rename(models / "hangs" / "2")
    children = eventually("a trial runs", lambda: _children(isolating.process.pid))
    isolating.process.kill()
    isolating.process.wait()

    def gone() -> bool:
        return not any((Path("/proc") / str(child)).exists() for child in children)

    eventually("the child died with the server", gone, timeout=20)


def test_without_a_child_a_hang_ends_the_version_too(models: Path, tmp_path: Path) -> None:
    flags = ("--isolated_first_load=false", "--load_timeout_seconds=5", *FLAGS)
    with running(tmp_path, _config(models, "hangs", "good"), *flags) as server:
        code, message = _ended(server, "hangs")
        assert code == "DEADLINE_EXCEEDED"
        assert message.endswith(" was still not loaded after 5 s (--load_timeout_seconds)")
        assert server.predict("good", {"instances": [1.0]}).json() == {"predictions": [3.0]}
        assert server.terminate() == 0
