"""Version changes under load: a model that tells its version, clients that record everything, a judge.

A version answers y = 2 x + version, so the number in an answer, the version in its `model_spec` and the version that
was asked for must agree. What the server's log says about each version bounds when it answered requests:

    loading ─────── loaded ─────────────────────── unloading
        may answer  │  must answer                 │  does not
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any, Final

METHOD: Final = "/tensorflow.serving.PredictionService/Predict"
X: Final = 3.0
LATEST: Final = 0
"""In place of a version: the request names none."""
_TELL_EVERY: Final = 64
_MARK: Final = struct.pack("<f", 1234567.0)


# ---- the model -----------------------------------------------------------------------------------------------------


def save_template(directory: Path, ballast_bytes: int) -> None:
    """Save the model from which versions are stamped."""
    import tensorflow as tf

    class Numbered(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.ballast = tf.Variable(tf.random.uniform([ballast_bytes // 4]))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": 2.0 * x + tf.constant(struct.unpack("<f", _MARK)[0])}

    module = Numbered()
    tf.saved_model.save(module, str(directory), signatures=module.call)


def publish(template: Path, base: Path, version: int) -> None:
    """Put a version in place with one rename; versions share the variables' files."""
    hidden = base / f".incoming-{version}"
    shutil.copytree(template, hidden, copy_function=os.link)
    graph = (template / "saved_model.pb").read_bytes()
    assert graph.count(_MARK) == 1
    (hidden / "saved_model.pb").unlink()
    (hidden / "saved_model.pb").write_bytes(graph.replace(_MARK, struct.pack("<f", float(version))))
    hidden.rename(base / str(version))


# ---- the clients ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Calls:
    """What clients recorded, one element a call; seconds of `time.time`.

    Attributes:
        due: when the call should have begun.
        asked: the version it named, or LATEST.
        answer: index into `answers`.
        answers: reply bytes, or a status code's name.
    """

    due: array[float] = field(default_factory=lambda: array("d"))
    begun: array[float] = field(default_factory=lambda: array("d"))
    ended: array[float] = field(default_factory=lambda: array("d"))
    asked: array[int] = field(default_factory=lambda: array("l"))
    answer: array[int] = field(default_factory=lambda: array("l"))
    answers: list[bytes | str] = field(default_factory=list)

    def extend(self, other: Calls) -> None:
        places = {answer: index for index, answer in enumerate(self.answers)}
        moved = []
        for answer in other.answers:
            if answer not in places:
                places[answer] = len(self.answers)
                self.answers.append(answer)
            moved.append(places[answer])
        self.due.extend(other.due)
        self.begun.extend(other.begun)
        self.ended.extend(other.ended)
        self.asked.extend(other.asked)
        self.answer.extend(moved[index] for index in other.answer)


def predict_request(model: str, version: int = LATEST) -> bytes:
    """Return a PredictRequest's bytes; written by hand so that clients need not import TensorFlow."""
    tensor = b"\x08\x01" + b"\x12\x04\x12\x02\x08\x01" + b"\x2a\x04" + struct.pack("<f", X)
    spec = _delimited(1, model.encode())
    if version != LATEST:
        spec += _delimited(2, b"\x08" + _varint(version))
    return _delimited(1, spec) + _delimited(2, _delimited(1, b"x") + _delimited(2, tensor))


def _delimited(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class Clients:
    """Processes that call one server until they are told to stop.

    Args:
        rate: calls a second of all together, at fixed instants whatever the server does (open loop); 0: each caller
            goes on when it is answered (closed loop).
        specific: every how many calls one names the version that `version` was last set to; 0 for none.
    """

    def __init__(
        self, target: str, model: str, *, processes: int, threads: int, rate: float, specific: int
    ) -> None:
        context: SpawnContext = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._version = context.Value("l", 0)
        self._count = context.Value("l", 0)
        self._pipes = []
        self._processes = []
        callers = processes * threads
        for number in range(processes):
            mine, theirs = context.Pipe()
            offsets = [
                (number * threads + caller) / rate if rate else 0.0 for caller in range(threads)
            ]
            arguments = (
                target,
                model,
                offsets,
                callers / rate if rate else 0.0,
                specific,
                self._stop,
                self._version,
                self._count,
                theirs,
            )
            process = context.Process(target=_call_until, args=arguments, daemon=True)
            process.start()
            self._pipes.append(mine)
            self._processes.append(process)

    @property
    def count(self) -> int:
        """Calls so far, give or take a second's."""
        return int(self._count.value)

    def set_version(self, version: int) -> None:
        """Say which version the calls that name one should name."""
        self._version.value = version

    def stop(self) -> Calls:
        """End the calls; return what was recorded."""
        self._stop.set()
        calls = Calls()
        for pipe in self._pipes:
            calls.extend(pipe.recv())
        for process in self._processes:
            process.join(30)
        return calls

    def kill(self) -> None:
        """End the processes at once."""
        for process in self._processes:
            if process.is_alive():
                process.kill()
                process.join()


def _call_until(
    target: str,
    model: str,
    offsets: Sequence[float],
    interval: float,
    specific: int,
    stop: Any,
    version: Any,
    count: Any,
    pipe: Any,
) -> None:
    records = [Calls() for _ in offsets]
    start = time.time() + 0.2

    def choose(number: int) -> int:
        if number % _TELL_EVERY == 0:
            with count.get_lock():
                count.value += _TELL_EVERY
        return int(version.value) if specific and number % specific == 0 else LATEST

    threads = [
        threading.Thread(
            target=_call, args=(record, target, model, start + offset, interval, choose, stop)
        )
        for record, offset in zip(records, offsets, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_calls = Calls()
    for record in records:
        all_calls.extend(record)
    pipe.send(all_calls)


def _call(
    record: Calls,
    target: str,
    model: str,
    due: float,
    interval: float,
    choose: Callable[[int], int],
    stop: Any,
) -> None:
    import grpc

    places: dict[bytes | str, int] = {}
    requests: dict[int, bytes] = {}
    number = 0
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        method: Any = channel.unary_unary(METHOD)
        while not stop.is_set():
            number += 1
            asked = choose(number)
            if asked not in requests:
                requests[asked] = predict_request(model, asked)
            if interval:
                time.sleep(max(due - time.time(), 0))
            else:
                due = time.time()
            begun = time.time()
            answer: bytes | str
            try:
                answer = method(requests[asked], timeout=30)
            except grpc.RpcError as error:
                answer = error.code().name
            record.ended.append(time.time())
            record.due.append(due)
            record.begun.append(begun)
            record.asked.append(asked)
            record.answer.append(places.setdefault(answer, len(places)))
            due += interval
    record.answers.extend(places)


# ---- the judge -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Life:
    """When the server's log says what about a version; seconds of `time.time`, infinity for what did not happen."""

    loading: float
    loaded: float
    unloading: float
    unloaded: float


def lives(log: Iterable[Mapping[str, Any]], model: str) -> dict[int, Life]:
    """Read the lives of a model's versions from a server's log."""
    times: dict[int, dict[str, float]] = {}
    for line in log:
        if line.get("model") == model and line.get("event") in Life.__dataclass_fields__:
            moment = datetime.fromisoformat(line["time"]).timestamp()
            times.setdefault(int(line["version"]), {}).setdefault(line["event"], moment)
    never = dict.fromkeys(Life.__dataclass_fields__, float("inf"))
    return {version: Life(**{**never, **of}) for version, of in times.items()}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the calls.

    Attributes:
        answered: as they should be.
        latest_in_gap: asked for no version and answered NOT_FOUND while none had to answer.
        specific_in_gap: asked for a version and answered NOT_FOUND while that one did not have to answer.
        failed: sentences about calls that should have been answered.
        wrong: sentences about answers that should have been others.
    """

    answered: int
    latest_in_gap: int
    specific_in_gap: int
    failed: tuple[str, ...]
    wrong: tuple[str, ...]


# The log's line about a change is written just before or after it, on another thread than those that answer.
SLACK: Final = 0.05


def judge(calls: Calls, of: Mapping[int, Life], slack: float = SLACK) -> Verdict:
    """Compare every answer with what the versions' lives allow. Pure."""
    said = [_said(answer) for answer in calls.answers]
    answered = 0
    in_gap = {True: 0, False: 0}
    failed, wrong = [], []
    for begun, ended, asked, index in zip(
        calls.begun, calls.ended, calls.asked, calls.answer, strict=True
    ):
        answer = said[index]
        if isinstance(answer, str):
            if answer == "NOT_FOUND" and not _had_to_answer(begun, ended, asked, of, slack):
                in_gap[asked == LATEST] += 1
            else:
                failed.append(f"{answer} for {asked or 'latest'} at {begun:.3f}")
            continue
        version, value = answer
        if value != 2 * X + version:
            wrong.append(f"version {version} answered {value}")
        elif asked not in {LATEST, version}:
            wrong.append(f"{version} answered for {asked}")
        elif version not in of or not (
            ended >= of[version].loading - slack and begun <= of[version].unloading + slack
        ):
            wrong.append(f"{version} answered at {begun:.3f}, when it was not available")
        elif asked == LATEST and any(
            newer > version and life.loaded + slack < begun and ended < life.unloading - slack
            for newer, life in of.items()
        ):
            wrong.append(f"{version} answered at {begun:.3f}, when a newer one was available")
        else:
            answered += 1
    return Verdict(answered, in_gap[True], in_gap[False], tuple(failed), tuple(wrong))


def _had_to_answer(
    begun: float, ended: float, asked: int, of: Mapping[int, Life], slack: float
) -> bool:
    """Whether one version that fits the request answered requests during all of it."""
    return any(
        life.loaded + slack < begun and ended < life.unloading - slack
        for version, life in of.items()
        if asked in {LATEST, version}
    )


def _said(answer: bytes | str) -> tuple[int, float] | str:
    if isinstance(answer, str):
        return answer
    from tensorflow_serving.apis import predict_pb2

    reply = predict_pb2.PredictResponse.FromString(answer)
    [value] = reply.outputs["y"].float_val
    return int(reply.model_spec.version.value), float(value)
