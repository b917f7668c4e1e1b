"""Reads the requests of one model from a server's metrics page."""

import re
from collections import defaultdict
from typing import Final

from slipway_operator.model.analysis import Counters

_LINE: Final = re.compile(r"^slipway_request(s_total|_seconds_bucket)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = re.compile(r"\\(.)")
_INFERENCE: Final = frozenset({"Predict", "Classify", "Regress", "MultiInference", "ModelInfer"})
"""Methods that run the model; status and metadata say nothing of it."""


def read_page(text: str, model: str) -> Counters:
    """What a server has counted since it started; lines that cannot be read do not count.

    Args:
        text: The page.
        model: The model's name, as clients ask for it.
    """
    requests = errors = 0
    buckets: defaultdict[float, int] = defaultdict(int)
    for kind, inside, number in _LINE.findall(text):
        labels = {name: _ESCAPED.sub(r"\1", value) for name, value in _LABEL.findall(inside)}
        if labels.get("model") != model or labels.get("method") not in _INFERENCE:
            continue
        try:
            count = int(float(number))
            if kind == "s_total":
                requests += count
                errors += count if labels.get("code") != "OK" else 0
            else:
                buckets[float(labels["le"])] += count
        except (ValueError, OverflowError, KeyError):
            continue
    return Counters(requests, errors, dict(buckets))
