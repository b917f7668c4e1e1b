"""§8: bodies of all connections together: who is held up, and when they go on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slipway_server.frontends.http.budget import BodyBudget


class Sender:
    """Sends a body whenever it may."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.held = False
        self.gone = False
        self.holds = 0

    def hold(self) -> None:
        assert not self.held
        self.held = True
        self.holds += 1

    def go_on(self) -> None:
        assert self.held
        self.held = False

    def give_way(self) -> None:
        self.gone = True
        self._budget.dropped(self)

    def send(self, size: int) -> None:
        assert not self.held
        self._budget.arrived(self, size)


def test_below_the_limit_nobody_is_held_up() -> None:
    budget = BodyBudget(100)
    a, b = Sender(budget), Sender(budget)
    a.send(60)
    b.send(39)
    assert not a.held
    assert not b.held
    assert budget.held == 99


def test_at_the_limit_all_wait_but_the_one_that_has_been_arriving_for_the_longest() -> None:
    budget = BodyBudget(100)
    first, second, third = (Sender(budget) for _ in range(3))
    first.send(40)
    second.send(40)
    third.send(40)
    assert [one.held for one in (first, second, third)] == [False, False, True]
    second.send(1)
    first.send(200)
    assert [one.held for one in (first, second, third)] == [False, True, True]
    size = budget.completed(first)
    assert size == 240
    assert second.held, "what is complete takes all the room"
    budget.released(size)
    assert not second.held
    assert not third.held
    assert budget.held == 81


def test_a_body_that_is_dropped_makes_room() -> None:
    budget = BodyBudget(100)
    first, second = Sender(budget), Sender(budget)
    first.send(150)
    second.send(10)
    assert second.held
    budget.dropped(first)
    assert not second.held
    assert budget.held == 10
    budget.dropped(second)
    budget.dropped(second)
    assert budget.held == 0


def test_who_is_first_and_dawdles_loses_the_place_when_others_wait() -> None:
    budget = BodyBudget(100)
    slow, other = Sender(budget), Sender(budget)
    slow.send(100)
    other.send(10)
    budget.sweep(0.0)
    budget.sweep(9.0)
    assert not slow.gone
    budget.sweep(11.0)
    assert slow.gone
    assert not other.held


def test_who_is_first_and_quick_keeps_the_place() -> None:
    budget = BodyBudget(100)
    quick, other = Sender(budget), Sender(budget)
    quick.send(100)
    other.send(10)
    for second in range(40):
        budget.sweep(float(second))
        quick.send(2 << 20)
    assert not quick.gone
    assert other.held


def test_a_first_one_that_was_held_up_itself_is_timed_from_when_it_may_go_on() -> None:
    budget = BodyBudget(100)
    complete, first, other = (Sender(budget) for _ in range(3))
    complete.send(100)
    size = budget.completed(complete)
    first.send(10)
    other.send(10)
    assert first.held
    for second in range(0, 60, 5):
        budget.sweep(float(second))
    assert not first.gone, "it may not send, so it is not slow"
    budget.released(size)
    first.send(200)
    other.send(10)
    assert (first.held, other.held) == (False, True)
    budget.sweep(64.0)
    assert not first.gone, "its time began when it was let go on"
    budget.sweep(66.0)
    assert first.gone


def test_a_slow_body_hurts_nobody_while_there_is_room() -> None:
    budget = BodyBudget(100)
    slow = Sender(budget)
    slow.send(10)
    for second in range(0, 1000, 10):
        budget.sweep(float(second))
    assert not slow.gone


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(("send", "end", "drop"))), max_size=200)
)
def test_never_more_than_the_limit_and_one_body_and_somebody_always_gets_on(
    steps: list[tuple[int, str]],
) -> None:
    limit, piece, most = 100, 10, 200
    budget = BodyBudget(limit)
    senders = [Sender(budget) for _ in range(5)]
    sent = [0] * 5
    complete: list[int] = []
    for who, what in steps:
        sender = senders[who]
        if what == "send" and not sender.held and sent[who] < most:
            sender.send(piece)
            sent[who] += piece
        elif what == "end" and not sender.held and sent[who]:
            complete.append(budget.completed(sender))
            sent[who] = 0
        elif what == "drop" and sent[who]:
            budget.dropped(sender)
            sender.held, sent[who] = False, 0
        elif complete:
            budget.released(complete.pop())
        assert budget.held == sum(sent) + sum(complete)
        assert budget.held <= limit + most + piece
        arriving = [one for one, size in zip(senders, sent, strict=True) if size]
        if arriving and sum(complete) < limit:
            assert not all(one.held for one in arriving)
    for size in complete:
        budget.released(size)
    for sender in senders:
        budget.dropped(sender)
    assert budget.held == 0
