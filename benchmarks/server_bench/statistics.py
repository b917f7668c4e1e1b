"""Order of runs, medians, intervals. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def interleaved(items: Sequence[T], rounds: int) -> list[T]:
    """The order A-B-B-A: drift of the machine touches all alike.

    >>> interleaved("AB", 3)
    ['A', 'B', 'B', 'A', 'A', 'B']
    """
    order: list[T] = []
    for number in range(rounds):
        order.extend(items if number % 2 == 0 else reversed(items))
    return order


def interval(
    samples: Sequence[Sequence[float]],
    figure: Callable[..., float],
    *,
    draws: int = 2000,
    share: float = 0.95,
) -> tuple[float, float, float]:
    """A figure made of medians, with its bootstrap interval.

    Args:
        samples: for each argument of `figure` what was measured in the rounds.
        figure: takes one median for each of `samples`.

    Returns:
        The figure, and the ends of the interval that holds `share` of the resampled figures.
    """
    chance = random.Random(4)  # noqa: S311 - resampling, the same each time
    values = sorted(
        figure(*(median(chance.choices(one, k=len(one))) for one in samples)) for _ in range(draws)
    )
    cut = (1 - share) / 2
    return (
        figure(*(median(one) for one in samples)),
        values[int(cut * draws)],
        values[min(int((1 - cut) * draws), draws - 1)],
    )
