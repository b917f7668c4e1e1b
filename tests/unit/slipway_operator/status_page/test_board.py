"""Who is told what, and when a Model is gone."""

import json
from typing import Any

import pytest

from slipway_operator.status_page.board import MAX_MODELS, MAX_VIEWERS, Board, TooManyViewersError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def model(name: str, uid: str = "1", namespace: str = "n", **status: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name, "uid": uid}, "status": status}


def told(text: str) -> list[tuple[str, Any]]:
    events = [one.split("\n") for one in text.split("\n\n") if one]
    assert all(len(lines) == 2 for lines in events)
    return [
        (kind.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for kind, data in events
    ]


def names(text: str) -> list[tuple[str, str]]:
    return [(kind, data.get("name", "")) for kind, data in told(text)]


def test_a_viewer_is_told_of_everything_then_of_changes_only() -> None:
    board = Board(Clock())
    board.changed(None, model("b"))
    board.changed(None, model("a"))
    with board.viewer() as viewer:
        assert names(viewer.take()) == [("model", "a"), ("model", "b"), ("summary", "")]
        assert viewer.is_told
        assert viewer.take() == ""
        board.changed("MODIFIED", model("b", phase="Loading 0/1"))
        board.changed("MODIFIED", model("a"))
        board.changed("MODIFIED", model("b", phase="Loading 1/1"))
        [(kind, shown)] = told(viewer.take())
        assert (kind, shown["name"], shown["phase"]) == ("model", "b", "Loading 1/1")


def test_a_deleted_model_is_gone_and_its_successor_is_not() -> None:
    board = Board(Clock())
    board.changed("ADDED", model("a", uid="1"))
    with board.viewer() as viewer:
        viewer.take()
        board.changed("ADDED", model("a", uid="2"))
        board.changed("DELETED", model("a", uid="1"))
        assert viewer.take() == ""
        board.changed("DELETED", model("a", uid="2"))
        assert told(viewer.take()) == [("gone", {"namespace": "n", "name": "a"})]


def test_a_newline_in_a_message_begins_no_event() -> None:
    board = Board(Clock())
    board.changed("ADDED", model("a", message="x\n\nevent: gone\ndata: {}\n\n"))
    with board.viewer() as viewer:
        assert [kind for kind, _ in told(viewer.take())] == ["model", "summary"]


def test_there_is_a_place_for_so_many_viewers_and_one_who_leaves_makes_room() -> None:
    board = Board(Clock())
    open_pages = [board.viewer() for _ in range(MAX_VIEWERS)]
    for page in open_pages:
        page.__enter__()
    with pytest.raises(TooManyViewersError), board.viewer():
        pass
    open_pages[0].__exit__(None, None, None)
    with board.viewer():
        pass


def test_further_models_are_counted_and_shown_when_there_is_room() -> None:
    board = Board(Clock())
    for number in range(MAX_MODELS + 1):
        board.changed(None, model(f"m{number}"))
    with board.viewer() as viewer:
        events = []
        while not viewer.is_told:
            part = viewer.take()
            assert len(part) < 200_000
            events += told(part)
        assert len(events) == MAX_MODELS + 1
        assert events[-1] == ("summary", {"hidden": 1})
        board.changed("DELETED", model("m0"))
        board.changed("MODIFIED", model(f"m{MAX_MODELS}"))
        assert names(viewer.take()) == [
            ("gone", "m0"),
            ("model", f"m{MAX_MODELS}"),
            ("summary", ""),
        ]


def test_what_a_new_listing_does_not_show_is_gone_and_what_is_quiet_is_not() -> None:
    clock = Clock()
    board = Board(clock)
    board.changed(None, model("kept"))
    board.changed(None, model("deleted"))
    clock.now = 10_000
    with board.viewer() as viewer:
        assert names(viewer.take()) == [("model", "deleted"), ("model", "kept"), ("summary", "")]
        board.changed(None, model("kept"))
        assert viewer.take() == ""
        clock.now += 61
        board.changed("MODIFIED", model("kept"))
        assert names(viewer.take()) == [("gone", "deleted")]


def test_a_namespace_that_is_listed_anew_takes_nothing_from_another() -> None:
    clock = Clock()
    board = Board(clock, by_namespace=True)
    for namespace in ("a", "b"):
        board.changed(None, model("kept", namespace=namespace))
        board.changed(None, model("deleted", namespace=namespace))
    clock.now = 10_000
    with board.viewer() as viewer:
        viewer.take()
        board.changed(None, model("kept", namespace="a"))
        clock.now += 61
        board.changed("MODIFIED", model("kept", namespace="a"))
        assert told(viewer.take()) == [("gone", {"namespace": "a", "name": "deleted"})]


def test_a_viewer_who_reads_nothing_costs_no_memory() -> None:
    board = Board(Clock())
    with board.viewer() as viewer:
        for number in range(10_000):
            board.changed("MODIFIED", model("a", phase=f"Syncing {number}"))
        assert names(viewer.take()) == [("model", "a"), ("summary", "")]
