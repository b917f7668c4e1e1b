"""Buckets of histograms: TensorFlow Serving's limits, and how a page writes counts."""

from collections.abc import Iterable
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
