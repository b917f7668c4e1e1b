"""What the chart installs for the Prometheus operator and Grafana."""

import json
from pathlib import Path

import pytest
import yaml

from charts import Helm, kinds, one
from prometheus import ALERTS, DASHBOARDS
from slipway_operator.rendering.deployment import deployment
from slipway_operator.rendering.inputs import servable
from slipway_operator.rendering.settings import RenderSettings
from snapshots import model


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(tmp_path)


def test_monitoring_is_off_until_it_is_asked_for(helm: Helm) -> None:
    assert not kinds(helm.render()) & {"PodMonitor", "PrometheusRule", "ConfigMap"}


def test_prometheus_scrapes_what_the_pods_serve(helm: Helm) -> None:
    manifests = helm.render("monitoring.podMonitor.enabled=true", "namespaces={a,b}")
    servers = one(manifests, "PodMonitor", "slipway-operator-models")["spec"]
    operator = one(manifests, "PodMonitor", "slipway-operator")["spec"]
    assert servers["namespaceSelector"] == {"matchNames": ["a", "b"]}
    of = model()
    made = servable(of, 3, "00000003", "a" * 64)
    pod = deployment(of, made, 1, RenderSettings("server:1", "sync:1"))["spec"]["template"]
    ports = {port["name"] for c in pod["spec"]["containers"] for port in c.get("ports", ())}
    assert {e["port"] for e in servers["podMetricsEndpoints"]} <= ports
    wanted = {expression["key"] for expression in servers["selector"]["matchExpressions"]}
    assert wanted <= set(pod["metadata"]["labels"])
    template = one(manifests, "Deployment")["spec"]["template"]
    [container] = template["spec"]["containers"]
    assert {e["port"] for e in operator["podMetricsEndpoints"]} <= {
        port["name"] for port in container["ports"]
    }
    assert operator["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    everywhere = helm.render("monitoring.podMonitor.enabled=true")
    found = one(everywhere, "PodMonitor", "slipway-operator-models")["spec"]
    assert found["namespaceSelector"] == {"any": True}


def test_dashboards_and_alerts_are_installed_as_they_are(helm: Helm) -> None:
    manifests = helm.render(
        "monitoring.dashboards.enabled=true",
        "monitoring.rules.enabled=true",
        "monitoring.rules.labels.release=kube-prometheus",
    )
    boards = one(manifests, "ConfigMap")
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in boards["data"].items()} == {
        f"slipway-{path.name}": json.loads(path.read_text()) for path in DASHBOARDS.glob("*.json")
    }
    rule = one(manifests, "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus"
    assert rule["spec"] == yaml.safe_load(ALERTS.read_text())
