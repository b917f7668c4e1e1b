import decimal
import math
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kubernetes.utils import parse_quantity as kubernetes_parse_quantity

from slipway_operator.api.quantities import (
    QUANTITY_PATTERN,
    is_positive_count,
    parse_duration,
    parse_quantity,
    quantity,
    resolve_count,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200), ("0s", 0), ("1h1m1s1ms", 3661.001)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "replicas", "pods"),
    [
        (1, 5, 1),
        (3, 2, 3),
        ("25%", 4, 1),
        ("25%", 2, 1),  # rounded up
        ("50%", 3, 2),
        ("100%", 3, 3),
        ("1%", 1000, 10),
        ("100%", 0, 1),  # at least one, whatever there is
    ],
)
def test_a_count_may_be_a_share_of_the_replicas(value: int | str, replicas: int, pods: int) -> None:
    assert resolve_count(value, replicas) == pods


@pytest.mark.parametrize(
    ("value", "positive"),
    [(1, True), (0, False), (-1, False), ("1%", True), ("100%", True), ("0%", False),
     ("101%", False), ("01%", False), ("25", False), ("", False)],
)  # fmt: skip
def test_a_count_must_be_at_least_one(value: int | str, positive: bool) -> None:  # noqa: FBT001
    assert is_positive_count(value) is positive


def kubernetes_value(text: str) -> decimal.Decimal | None:
    """What the official client makes of a quantity, to any precision; None when it refuses it."""
    with decimal.localcontext(prec=200):
        try:
            return kubernetes_parse_quantity(text)
        except ValueError:
            return None


def is_accepted(value: str) -> bool:
    return quantity("size").holds(SimpleNamespace(size=value))


SUFFIXES = ("", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
VALID = st.builds(
    "{}{}{}".format,
    st.integers(0, 10**30),
    st.sampled_from(["", ".0", ".5"]) | st.integers(0, 10**9).map(".{}".format),
    st.sampled_from(SUFFIXES),
)


@given(VALID)
@example("1.5Gi")
@example("007")
def test_a_quantity_has_the_value_that_kubernetes_gives_it(text: str) -> None:
    value = kubernetes_value(text)
    assert is_accepted(text)
    assert value is not None
    assert parse_quantity(text) == math.ceil(value)


DIFFERENT = (
    # Kubernetes allows these; a Model does not, and says so in the field's description.
    r"[+-].*",  # a sign
    r".*[0-9.][eE][+-]?[0-9]+.*",  # an exponent
    r"[.][0-9]+.*|[0-9]+[.]([^0-9].*)?",  # no digit on one side of the point
    # The client lets these pass, and Kubernetes itself does not: Python's Decimal reads them.
    r".*_.*",
    r"\s.*|.*\s.*",
    r"(?i:s?nan|inf).*",
    r".*[^\x00-\x7f].*",  # digits of other scripts
    # An oversight of the client: it refuses `ki` alone.
    r".*[num]i",
)


@given(
    st.text(st.sampled_from("0123456789.+-eE_ numkKMGTPEi\u0663"), max_size=8)
    | st.text(max_size=6)
    | VALID.flatmap(lambda text: st.sampled_from(SUFFIXES).map(text.__add__))
)
@example("1e3")
@example("1_0")
@example(".5")
@example("1mi")
@example("1ki")
@example("1GiB")
@example("")
def test_what_kubernetes_refuses_is_refused_and_the_exceptions_are_known(text: str) -> None:
    value = kubernetes_value(text)
    assert is_accepted(text) == bool(re.fullmatch(QUANTITY_PATTERN, text))
    if is_accepted(text):
        assert value is not None
        assert parse_quantity(text) == math.ceil(value)
    elif value is not None:
        assert [p for p in DIFFERENT if re.fullmatch(p, text, re.DOTALL)], text
