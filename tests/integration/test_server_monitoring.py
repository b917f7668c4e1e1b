"""Dashboards and alerts of the chart, against a real Prometheus and a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from modelserver import ModelServer, running
from prometheus import ALERTS, Prometheus, Target, panels, promtool, rules, scraping
from savedmodels import save_double

SCENARIOS = Path(__file__).with_name("alerts.test.yaml")
PAGE = "/monitoring/prometheus/metrics"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    directory = tmp_path_factory.mktemp("monitored")
    save_double(directory / "m" / "1", 1)
    flags = ("--model_name=m", f"--model_base_path={directory / 'm'}", "--enable_batching")
    with running(directory, *flags) as started:
        yield started.wait_ready()


@pytest.fixture(scope="module")
def prometheus(
    server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    labels = {"namespace": "team-a", "pod": "m-v1-x"}
    target = Target(f"127.0.0.1:{server.rest_port}", PAGE, labels)
    with scraping(tmp_path_factory.mktemp("prometheus"), target) as started:
        started.wait_for("slipway_model_version_state")
        yield started


def ask(server: ModelServer) -> None:
    assert server.predict("m", {"instances": [1.0]}).json() == {"predictions": [3.0]}
    assert server.predict("m", {"instances": ["x"]}).status_code == 400


@pytest.mark.parametrize(
    ("panel", "expression"), panels("models", namespace="team-a", model="m").items()
)
def test_every_panel_of_a_model_shows_something(
    panel: str, expression: str, server: ModelServer, prometheus: Prometheus
) -> None:
    # A rate needs what was before it.
    prometheus.wait_for("slipway_requests_waiting")
    for _ in range(3):
        ask(server)
    assert prometheus.wait_for(expression), panel


def test_alerts_are_rules_that_prometheus_takes() -> None:
    assert "SUCCESS" in promtool("check", "rules", ALERTS)


def test_alerts_fire_when_they_should_and_not_otherwise() -> None:
    tested = {
        case["alertname"]
        for scenario in yaml.safe_load(SCENARIOS.read_text())["tests"]
        for case in scenario["alert_rule_test"]
        if case["exp_alerts"]
    }
    there = [*rules("slipway-operator"), *rules("slipway-models")]
    assert tested == {rule["alert"] for rule in there}
    assert "SUCCESS" in promtool("test", "rules", SCENARIOS)


def test_alerts_about_models_are_about_metrics_that_servers_have(
    server: ModelServer, prometheus: Prometheus
) -> None:
    ask(server)
    for rule in rules("slipway-models"):
        # Without its threshold, and for every code: whether the series and their labels exist.
        expression = rule["expr"].split(" > ")[0].split(" == ")[0]
        wanted = (
            'code=~"INTERNAL|UNKNOWN|UNAVAILABLE|DATA_LOSS|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED"'
        )
        result = prometheus.wait_for(expression.replace(wanted, 'code!=""'))
        assert all(one["metric"]["namespace"] == "team-a" for one in result)
