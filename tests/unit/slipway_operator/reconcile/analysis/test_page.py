"""A server's metrics page, as the server itself writes it."""

import pytest

from slipway_operator.model.analysis import Counters
from slipway_operator.reconcile.analysis.page import read_page
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
        'slipway_requests_total{model="m} 1',
        'slipway_request_seconds_bucket{model="m",method="Predict"} 1',
        'slipway_request_seconds_bucket{model="m",method="Predict",le="x"} 1',
        'slipway_requests_total{model="' + "\\" * 100_000,
    ],
)
def test_what_cannot_be_read_does_not_count(text: str) -> None:
    assert read_page(text, "m") == Counters()
