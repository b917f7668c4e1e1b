"""What the native port is told of versions; the port itself is a stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from slipway_server.batching.native import NativeBatchedModel
from slipway_server.core.serving_map import Selector, Servable, ServingMap
from slipway_server.frontends.native.versions import NativeVersions
from slipway_server.servables.dtypes import DType
from slipway_server.servables.servable import OpenSession
from slipway_server.servables.signature import Signature, TensorSpec


@dataclass
class Version:
    number: int
    session: int
    signatures: list[Any]
    batches: object = None
    users: int = 0
    closed: bool = False

    def close(self, timeout: float | None = None) -> bool:
        assert timeout is None or timeout >= 0
        self.closed = True
        return True


@dataclass
class Front:
    hot: bool = False
    versions: list[Version] = field(default_factory=list)
    made: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    drawn: float | None = None

    def sample(self, rates: dict[str, float]) -> None:
        self.rates = rates

    def chance(self) -> float | None:
        return self.drawn

    def set_hot(self, hot: bool) -> None:  # noqa: FBT001 - as the module has it
        self.hot = hot

    def version(
        self,
        _model: str,
        number: int,
        session: int,
        _graph: int,
        _on_caller: bool,  # noqa: FBT001 - likewise
        signatures: list[Any],
        _owner: object,
        batches: object = None,
    ) -> Version:
        self.made += 1
        return Version(number, session, signatures, batches)

    def add(self, version: Version) -> None:
        self.versions.append(version)

    def remove(self, version: Version) -> None:
        self.versions.remove(version)


def _signature(
    key: str, *, tensor: str = "x:0", stateful: bool = False, method: str = ""
) -> Signature:
    spec = TensorSpec(tensor, DType.FLOAT, (-1, 2))
    scalar = TensorSpec("n:0", DType.INT32, ())
    return Signature(key, method, {"n": scalar, "x": spec}, {"y": spec}, stateful=stateful)


class InSession:
    def __init__(self, *signatures: Signature) -> None:
        self.signatures = {one.key: one for one in signatures}

    def open_session(self) -> OpenSession:
        return OpenSession(7, 8, on_caller=True, owner=self)


class Batched(InSession):
    example_signatures: Mapping[str, Signature] = {}
    signature_defs: Mapping[str, Any] = {}


class Queues:
    def describe(self, *_about: Any) -> bool:
        return True


class PythonOnly:
    def __init__(self) -> None:
        self.signatures = {"s": _signature("s")}


@pytest.fixture
def front() -> Front:
    return Front()


@pytest.fixture
def versions(front: Front) -> NativeVersions:
    return NativeVersions(cast("Any", front))


def test_signatures_that_change_state_or_are_no_tensors_stay_with_python(
    front: Front, versions: NativeVersions
) -> None:
    content = InSession(
        _signature("plain"), _signature("stateful", stateful=True), _signature("sparse", tensor="")
    )
    versions.added(cast("Any", Servable("m", 1, content)))
    assert front.versions[0].session == 7
    assert front.versions[0].signatures == [
        ("plain", [("n", "n:0", 3, False), ("x", "x:0", 1, True)], [("y", "x:0")], 0)
    ]


def test_a_version_that_is_batched_brings_its_queues_and_its_session(
    front: Front, versions: NativeVersions
) -> None:
    queues = cast("Any", Queues())
    content = NativeBatchedModel(cast("Any", Batched(_signature("plain"))), queues)
    versions.added(cast("Any", Servable("m", 1, content)))
    assert (front.versions[0].session, front.versions[0].batches) == (7, queues)
    versions.added(cast("Any", Servable("m", 2, InSession(_signature("plain")))))
    assert front.versions[1].batches is None


def test_a_request_has_one_number_whoever_samples_it(
    front: Front, versions: NativeVersions
) -> None:
    versions.sample({"m": 0.25})
    assert front.rates == {"m": 0.25}
    draw = versions.chance(lambda: 0.75)
    assert draw() == 0.75
    front.drawn = 0.0
    assert draw() == 0.0


def test_a_signature_of_another_method_stays_with_python_where_methods_are_checked(
    front: Front, versions: NativeVersions
) -> None:
    content = InSession(
        _signature("good", method="tensorflow/serving/predict"), _signature("other", method="mine")
    )
    versions.enable(check_methods=True)
    versions.added(cast("Any", Servable("m", 1, content)))
    assert front.hot
    assert [one[0] for one in front.versions[0].signatures] == ["good"]


def test_a_version_that_only_python_can_run_is_there_without_a_session(
    front: Front, versions: NativeVersions
) -> None:
    versions.added(cast("Any", Servable("m", 2, PythonOnly())))
    assert (front.versions[0].number, front.versions[0].session) == (2, 0)


def test_what_was_prepared_is_not_made_again_and_what_was_forgotten_is(
    front: Front, versions: NativeVersions
) -> None:
    content = cast("Any", InSession(_signature("s")))
    versions.prepare("m", 1, content)
    versions.added(Servable("m", 1, content))
    assert front.made == 1
    versions.prepare("m", 1, content)
    versions.forget(content)
    versions.added(Servable("m", 1, content))
    assert front.made == 3


def test_the_serving_map_tells_of_versions_and_waits_for_both_worlds(
    front: Front, versions: NativeVersions
) -> None:
    serving: ServingMap[Any] = ServingMap(observer=versions)
    servable: Servable[Any] = Servable("m", 1, InSession(_signature("s")))
    serving.add(servable)
    told = front.versions[0]
    told.users = 2
    with serving.open(Selector("m")):
        assert serving.users() == {("m", 1): 3}
        assert not servable.close(0.01)
        assert not told.closed, "first those who are counted here"
    serving.remove(servable)
    assert front.versions == []
    assert servable.close(1.0)
    assert told.closed
