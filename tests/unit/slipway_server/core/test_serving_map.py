"""§6, §7: which version answers a request, and that it stays while it is used."""

from __future__ import annotations

import threading

import pytest

from slipway_server.core.serving_map import Selector, Servable, ServingMap
from slipway_server.errors import Code, ServingError


@pytest.fixture
def serving() -> ServingMap[str]:
    found: ServingMap[str] = ServingMap()
    for version in (3, 12, 7):
        found.add(Servable("m", version, f"v{version}"))
    found.set_labels({"m": {"stable": 7, "gone": 99}})
    return found


@pytest.mark.parametrize(
    ("selector", "content"),
    [
        (Selector("m"), "v12"),
        (Selector("m", version=3), "v3"),
        (Selector("m", label="stable"), "v7"),
    ],
)
def test_who_answers(serving: ServingMap[str], selector: Selector, content: str) -> None:
    with serving.open(selector) as handle:
        assert handle.content == content


@pytest.mark.parametrize(
    ("selector", "code", "message"),
    [
        (Selector(""), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (Selector("n"), Code.NOT_FOUND, "Servable not found for request: Latest(n)"),
        (
            Selector("m", version=4),
            Code.NOT_FOUND,
            "Servable not found for request: Specific(m, 4)",
        ),
        (
            Selector("n", version=4),
            Code.NOT_FOUND,
            "Servable not found for request: Specific(n, 4)",
        ),
        (
            Selector("m", label="gone"),
            Code.NOT_FOUND,
            "Servable not found for request: Specific(m, 99)",
        ),
        (Selector("m", label="x"), Code.INVALID_ARGUMENT, "Unrecognized servable version label: x"),
    ],
)
def test_who_does_not(
    serving: ServingMap[str], selector: Selector, code: Code, message: str
) -> None:
    with pytest.raises(ServingError) as refused:
        serving.open(selector)
    assert (refused.value.code, refused.value.message) == (code, message)


def test_the_hint_follows_the_classic_words() -> None:
    serving: ServingMap[str] = ServingMap(". Ask elsewhere")
    with pytest.raises(
        ServingError, match=r"Servable not found for request: Specific\(m, 4\)\. Ask elsewhere"
    ):
        serving.open(Selector("m", version=4))


def test_latest_falls_back_when_the_newest_leaves(serving: ServingMap[str]) -> None:
    newest = Servable("m", 13, "v13")
    serving.add(newest)
    serving.remove(newest)
    with serving.open(Selector("m")) as handle:
        assert handle.version == 12
    assert serving.versions("m") == (3, 7, 12)


def test_close_waits_for_the_last_user_and_admits_no_other() -> None:
    servable = Servable("m", 1, "x")
    assert servable.acquire()
    closed = threading.Event()
    closer = threading.Thread(target=lambda: (servable.close(), closed.set()))
    closer.start()
    assert not servable.close(timeout=0.05)
    assert not closed.is_set()
    assert not servable.acquire()
    servable.release()
    closer.join(60)
    assert closed.is_set()


def test_a_handle_ends_its_use_also_after_an_error(serving: ServingMap[str]) -> None:
    servable = Servable("e", 1, "x")
    serving.add(servable)
    with pytest.raises(RuntimeError), serving.open(Selector("e")):
        raise RuntimeError
    assert servable.close(timeout=0)
