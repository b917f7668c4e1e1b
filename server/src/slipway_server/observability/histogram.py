"""Histograms kept as plain integers, which are cheap to add to; bucket limits of TensorFlow Serving."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

CLASSIC_MICROSECONDS: Final = tuple(10 * 1.8**power for power in range(33))
"""Upper limits of TensorFlow Serving's latencies."""


def cumulative(limits: Iterable[float], counts: Iterable[int]) -> list[tuple[str, float]]:
    """Return cumulative counts by upper limit; `counts` has one more, for what is above all limits.

    >>> cumulative([0.5, 1], [2, 0, 1])
    [('0.5', 2.0), ('1', 2.0), ('+Inf', 3.0)]
    """
    names = [*(f"{limit:.6g}" for limit in limits), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))


class BucketCounts:
    """A histogram: counts of values by upper limit. Whoever shares one between threads holds a lock.

    Attributes:
        limits: inclusive upper limits, ascending.
        counts: values in each bucket; one bucket more than limits, for all above.
        total: sum of the values.
    """

    __slots__ = ("counts", "limits", "total")

    def __init__(self, limits: Sequence[float]) -> None:
        self.limits = limits
        self.counts = [0] * (len(limits) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, `times` times."""
        self.counts[bisect_left(self.limits, value)] += times
        self.total += value * times

    def merge(self, other: "BucketCounts") -> None:
        """Add the counts of another histogram with as many buckets."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
