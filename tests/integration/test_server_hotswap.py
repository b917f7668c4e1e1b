"""Versions change under load: no request fails, none is answered by a version it should not be (§4.1, §4.2)."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap_load import LATEST, Calls, Clients, Life, Verdict, judge, lives, publish, save_template
from modelserver import ModelServer, eventually, running

SWAPS = 6


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("template") / "numbered"
    save_template(directory, ballast_bytes=8 << 20)
    return directory


@contextlib.contextmanager
def _clients(server: ModelServer) -> Iterator[Clients]:
    clients = Clients(server.target, "m", processes=1, threads=4, rate=0, specific=5)
    try:
        yield clients
    finally:
        clients.kill()


def _swap(server: ModelServer, template: Path, base: Path, version: int) -> None:
    publish(template, base, version)
    eventually(
        f"version {version} alone is loaded",
        lambda: (
            server.states("m").get(version) == "AVAILABLE"
            and server.states("m").get(version - 1) == "END"
        ),
    )
    shutil.rmtree(base / str(version - 1))


@pytest.mark.parametrize("policy", ["availability_preserving", "resource_preserving"])
def test_versions_change_under_load(template: Path, tmp_path: Path, policy: str) -> None:
    base = tmp_path / "m"
    base.mkdir()
    publish(template, base, 1)
    flags = (
        f"--model_base_path={base}",
        "--model_name=m",
        f"--aspired_version_policy={policy}",
        "--drain_seconds=0",
    )
    with running(tmp_path, *flags) as server:
        server.wait_ready()
        with _clients(server) as clients:
            clients.set_version(1)
            eventually("calls flow", lambda: clients.count > 256)
            for version in range(2, SWAPS + 2):
                _swap(server, template, base, version)
                clients.set_version(version)
                count = clients.count
                eventually("calls go on", lambda before=count: clients.count > before + 400)
            calls = clients.stop()
        verdict = judge(calls, lives(server.log, "m"))
    assert verdict.failed == ()
    assert verdict.wrong == ()
    assert verdict.answered > 400 * SWAPS
    assert {version for version, _ in _answers(calls)} == set(range(1, SWAPS + 2))
    if policy == "availability_preserving":
        assert verdict.latest_in_gap == 0
    else:
        # By design: the old version is gone before the new one is loaded. The callers must have met that gap.
        assert verdict.latest_in_gap > 0


def _answers(calls: Calls) -> set[tuple[int, float]]:
    from hotswap_load import _said

    return {said for answer in calls.answers if not isinstance(said := _said(answer), str)}


# ---- the judge itself ----------------------------------------------------------------------------------------------

OF = {1: Life(0, 10, 20, 21), 2: Life(15, 19, 30, 31)}


def _reply(version: int, value: float) -> bytes:
    from tensorflow_serving.apis import predict_pb2

    reply = predict_pb2.PredictResponse()
    reply.model_spec.version.value = version
    reply.outputs["y"].float_val.append(value)
    return bytes(reply.SerializeToString())


@pytest.mark.parametrize(
    ("begun", "ended", "asked", "answer", "expected"),
    [
        (11, 12, LATEST, (1, 7.0), "answered"),
        (11, 12, LATEST, (1, 8.0), "wrong"),
        (11, 12, 2, (1, 7.0), "wrong"),
        (11, 12, LATEST, (2, 8.0), "wrong"),
        (16, 17, LATEST, (2, 8.0), "answered"),
        (19.5, 19.6, LATEST, (1, 7.0), "wrong"),
        (18, 19.5, LATEST, (1, 7.0), "answered"),
        (22, 23, LATEST, (1, 7.0), "wrong"),
        (22, 23, LATEST, (9, 15.0), "wrong"),
        (11, 12, LATEST, "NOT_FOUND", "failed"),
        (11, 12, LATEST, "UNAVAILABLE", "failed"),
        (11, 12, 2, "NOT_FOUND", "specific_in_gap"),
        (19.5, 21, 1, "NOT_FOUND", "specific_in_gap"),
        (31, 32, LATEST, "NOT_FOUND", "latest_in_gap"),
        (31, 32, LATEST, "INTERNAL", "failed"),
    ],
)
def test_the_judge(
    begun: float, ended: float, asked: int, answer: tuple[int, float] | str, expected: str
) -> None:
    calls = Calls(answers=[answer if isinstance(answer, str) else _reply(*answer)])
    for values, value in ((calls.due, begun), (calls.begun, begun), (calls.ended, ended)):
        values.append(value)
    calls.asked.append(asked)
    calls.answer.append(0)
    verdict = judge(calls, OF)
    found = {
        name: count if isinstance(count, int) else len(count)
        for name in Verdict.__dataclass_fields__
        if (count := getattr(verdict, name))
    }
    assert found == {expected: 1}
