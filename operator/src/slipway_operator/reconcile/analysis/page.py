"""Reads the requests of one model from a server's metrics page.

A Model may have an image of its own, so the page may be made to harm: the time that it takes grows with its
length and no faster.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from slipway_operator.model.analysis import Counters

_START: Final = "\nslipway_request"
_LONGEST: Final = 4096
"""Characters of a line; what a server writes is a tenth of it."""
_MOST_LINES: Final = 50_000
_MOST_BUCKETS: Final = 200
_MOST_COUNTED: Final = 2**53
"""A floating-point number has a larger count only roughly."""
_LINE: Final = re.compile(r"slipway_request(s_total|_seconds_bucket)\{(.*)\} (\S+)")
# A name is tried from its first character only, and nothing is given back: both keep it linear.
_LABEL: Final = re.compile(r'(?<!\w)(\w++)="((?:[^"\\]|\\.)*+)"')
_ESCAPED: Final = re.compile(r"\\(.)")
_INFERENCE: Final = frozenset({"Predict", "Classify", "Regress", "MultiInference", "ModelInfer"})
"""Methods that run the model; status and metadata say nothing of it."""


class PageError(Exception):
    """A page is not one of a server of ours; the text says why."""


def read_page(text: str, model: str) -> Counters:
    """What a server has counted since it started; lines that cannot be read do not count.

    Args:
        text: The page.
        model: The model's name, as clients ask for it.

    Raises:
        PageError: It has far more series, or buckets, than a server keeps.
    """
    requests = errors = 0
    buckets: defaultdict[float, int] = defaultdict(int)
    for line in _lines(text):
        if (found := _LINE.fullmatch(line)) is None:
            continue
        kind, inside, number = found.groups()
        labels = {name: _ESCAPED.sub(r"\1", value) for name, value in _LABEL.findall(inside)}
        if labels.get("model") != model or labels.get("method") not in _INFERENCE:
            continue
        try:
            count = _count(number)
            if kind == "s_total":
                requests += count
                errors += count if labels.get("code") != "OK" else 0
            else:
                buckets[_limit(labels["le"])] += count
        except (ValueError, KeyError):
            continue
        if len(buckets) > _MOST_BUCKETS:
            raise PageError(f"has more than {_MOST_BUCKETS} buckets of durations")
    return Counters(requests, errors, dict(buckets))


def _count(text: str) -> int:
    """A number of requests; ValueError where it cannot be one, as no sum of such may."""
    number = float(text)
    if not 0 <= number <= _MOST_COUNTED:  # NaN is in no range.
        raise ValueError(text)
    return int(number)


def _limit(text: str) -> float:
    limit = float(text)
    if not (0 <= limit <= _MOST_COUNTED or limit == float("inf")):
        raise ValueError(text)
    return limit


def _lines(text: str) -> Iterator[str]:
    """Lines about requests, one at a time: a page of short ones would be many times its size in a list."""
    text = f"\n{text}\n"
    at, lines = text.find(_START), 0
    while at >= 0:
        end = text.index("\n", at + 1)
        lines += 1
        if lines > _MOST_LINES:
            raise PageError(f"has more than {_MOST_LINES} series of requests")
        if end - at - 1 <= _LONGEST:
            yield text[at + 1 : end]
        at = text.find(_START, end)
