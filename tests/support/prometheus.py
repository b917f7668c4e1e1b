"""A real Prometheus that scrapes what a test runs, and its tool that judges rules."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from cluster import debian
from cluster.ports import free_ports
from modelserver import eventually

DASHBOARDS: Final = Path(__file__).parents[2] / "charts/slipway/files/dashboards"
ALERTS: Final = DASHBOARDS.parent / "alerts.yaml"


def program(name: str) -> Path:
    """`prometheus` or `promtool`."""
    return debian.unpacked("prometheus") / "usr/bin" / name


def promtool(*arguments: str | Path) -> str:
    """What it said; it succeeded."""
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Target:
    """What is scraped, with the labels that Kubernetes would give it."""

    address: str
    path: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    http: httpx.Client

    def query(self, expression: str) -> list[Any]:
        answer = self.http.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, answer.text
        result: list[Any] = answer.json()["data"]["result"]
        return result

    def wait_for(self, expression: str) -> list[Any]:
        """The result of an expression as soon as it has one that is a number."""

        def found() -> list[Any]:
            return [one for one in self.query(expression) if one["value"][1] != "NaN"]

        result: list[Any] = eventually(f"there is something for {expression}", found)
        return result


@contextmanager
def scraping(directory: Path, *targets: Target) -> Iterator[Prometheus]:
    """Start one that scrapes every half second."""
    [port] = free_ports(1)
    jobs = [
        {
            "job_name": target.address,
            "metrics_path": target.path,
            "static_configs": [{"targets": [target.address], "labels": dict(target.labels)}],
        }
        for target in targets
    ]
    config = directory / "prometheus.json"
    # JSON is YAML too.
    intervals = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
    config.write_text(json.dumps({"global": intervals, "scrape_configs": jobs}))
    command = [
        str(program("prometheus")),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
    try:
        eventually("Prometheus is ready", lambda: client.get("/-/ready").status_code == 200)
        yield Prometheus(client)
    finally:
        client.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def panels(dashboard: str, **variables: str) -> dict[str, str]:
    """The expressions of a dashboard by panel and letter, its variables filled in."""
    found = {}
    for panel in json.loads((DASHBOARDS / f"{dashboard}.json").read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "30s")
            for name, value in variables.items():
                expression = expression.replace(f"${name}", value)
            assert "$" not in expression
            found[f"{panel['title']} {target['refId']}"] = expression
    return found


def rules(group: str) -> list[dict[str, Any]]:
    """The alerts of a group."""
    [found] = [one for one in yaml.safe_load(ALERTS.read_text())["groups"] if one["name"] == group]
    return list(found["rules"])
