"""A server's metrics page, as the server itself writes it, and as nobody should."""

import time

import pytest

from slipway_operator.model.analysis import Counters
from slipway_operator.reconcile.analysis.page import PageError, read_page
from slipway_server.errors import Code
from slipway_server.observability.telemetry import Telemetry


def page(*requests: tuple[str, str, Code, float], model: str = 'half "plus" two') -> str:
    """Requests by method, protocol, code and seconds, told by a real server's telemetry."""
    times = iter([moment for *_, seconds in requests for moment in (0.0, seconds)])
    telemetry = Telemetry(lambda _: True, clock=lambda: next(times))
    for method, protocol, code, _ in requests:
        call = telemetry.begin(method, protocol)
        call.model, call.version, call.signature = model, 3, "serving_default"
        telemetry.end(call, code)
    return telemetry.text().decode()


def test_what_the_server_writes_is_read() -> None:
    text = page(
        ("Predict", "GRPC", Code.OK, 0.003),
        ("Predict", "REST", Code.INVALID_ARGUMENT, 0.2),
        ("Classify", "GRPC", Code.INTERNAL, 0.003),
        ("Regress", "GRPC", Code.OK, 99.0),
        ("ModelInfer", "GRPC", Code.OK, 0.003),
        ("GetModelStatus", "GRPC", Code.NOT_FOUND, 0.003),
        ("GetModelMetadata", "REST", Code.OK, 0.003),
    )
    found = read_page(text, 'half "plus" two')
    assert (found.requests, found.errors) == (5, 2)
    assert found.buckets[0.005] == 3
    assert found.buckets[0.25] == 4
    assert found.buckets[float("inf")] == 5
    assert read_page(text, "another") == Counters()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        'slipway_requests_total{model="m",method="Predict",code="OK"} NaN',
        'slipway_requests_total{model="m",method="Predict",code="OK"} Infinity',
        'slipway_requests_total{model="m",method="Predict",code="OK"} 1 2 3',
        'slipway_requests_total{model="m",method="Predict",code="OK"} -1',
        'slipway_requests_total{model="m",method="Predict",code="OK"} -inf',
        'slipway_requests_total{model="m",method="Predict",code="OK"} 1e308',
        'slipway_requests_total{model="m",method="Predict",code="OK"} 9007199254740994',
        'slipway_request_seconds_bucket{model="m",method="Predict",le="nan"} 1',
        'slipway_request_seconds_bucket{model="m",method="Predict",le="-1"} 1',
        'slipway_request_seconds_bucket{model="m",method="Predict",le="-Infinity"} 1',
        'slipway_request_seconds_bucket{model="m",method="Predict",le="1e308"} 1',
        'slipway_requests_total{model="m} 1',
        'slipway_request_seconds_bucket{model="m",method="Predict"} 1',
        'slipway_request_seconds_bucket{model="m",method="Predict",le="x"} 1',
        'slipway_requests_total{model="' + "\\" * 100_000,
    ],
)
def test_what_cannot_be_read_does_not_count(text: str) -> None:
    assert read_page(text, "m") == Counters()


LINE = 'slipway_requests_total{model="m",method="Predict",code="OK"} 1'


@pytest.mark.parametrize(
    "line",
    [
        "slipway_requests_total{%s} 1" % ("a" * 50_000),
        "slipway_requests_total{%s} 1" % ("a" * 4_000),
        "slipway_requests_total{%s} 1" % ('a="' * 1_000),
        'slipway_requests_total{a="%s} 1' % ('\\"a=' * 1_000),
        "slipway_requests_total{%s" % ("} 1 " * 1_000),
        "slipway_requests_total" * 180,
        "\n" * 4_000,
    ],
    ids=["long", "word", "labels", "escapes", "ends", "names", "empty"],
)
def test_a_page_that_is_made_to_be_slow_is_read_as_fast_as_any(line: str) -> None:
    # Process time: with it the whole operator would stand, as an expression holds the interpreter.
    page = "\n".join([LINE, *[line] * ((2 << 20) // len(line)), LINE])
    began = time.process_time()
    assert read_page(page, "m").requests == 2
    assert time.process_time() - began < 10


def test_a_line_of_four_kib_counts_and_a_longer_one_does_not() -> None:
    def line(length: int) -> str:
        there = LINE.replace("code=", 'x="",code=')
        return there.replace('x=""', f'x="{"y" * (length - len(there))}"')

    assert len(line(4096)) == 4096
    assert read_page(line(4096), "m").requests == 1
    assert read_page(f"{line(4097)}\n{LINE}", "m").requests == 1


def test_a_page_of_too_many_series_is_refused() -> None:
    assert read_page("\n".join([LINE] * 50_000), "m").requests == 50_000
    with pytest.raises(PageError, match="more than 50000 series of requests"):
        read_page("\n".join([LINE] * 50_001), "m")


def test_a_page_of_too_many_buckets_is_refused() -> None:
    bucket = 'slipway_request_seconds_bucket{model="m",method="Predict",le="%d"} 1'
    assert len(read_page("\n".join(bucket % i for i in range(200)), "m").buckets) == 200
    with pytest.raises(PageError, match="more than 200 buckets of durations"):
        read_page("\n".join(bucket % i for i in range(201)), "m")
