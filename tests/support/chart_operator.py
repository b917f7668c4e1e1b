"""The operator's process as the chart's Deployment would run it, and what it wrote."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charts import NAMESPACE
from cluster.controlplane import ControlPlane
from cluster.ports import free_ports
from world import Kube

GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated")
"""Of every ServiceAccount of the chart's namespace."""


class Running:
    """A process that was started as the pod of a Deployment would be."""

    def __init__(self, kube: Kube, plane: ControlPlane, name: str, directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        [self.port] = free_ports(1)
        pod = kube.apps.read_namespaced_deployment(name, NAMESPACE).spec.template.spec
        [container] = pod.containers
        fields = {
            "metadata.namespace": NAMESPACE,
            "spec.serviceAccountName": pod.service_account_name,
            "status.podIP": "127.0.0.1",
        }
        given = {
            entry.name: fields[entry.value_from.field_ref.field_path]
            if entry.value_from
            else entry.value
            for entry in container.env
        }
        account = f"system:serviceaccount:{NAMESPACE}:{pod.service_account_name}"
        kubeconfig = plane.kubeconfig_for(account, GROUPS)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "slipway_operator", *container.args, f"--port={self.port}"],
                env=os.environ | given | {"KUBECONFIG": str(kubeconfig)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 while nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def entries(self) -> list[dict[str, Any]]:
        """The log; every line of it is JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def leads(self) -> bool:
        return "slipway_operator_leader 1.0" in self.get("/metrics")[1]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def running(kube: Kube, plane: ControlPlane, name: str, directory: Path) -> Iterator[Running]:
    started = Running(kube, plane, name, directory)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait(10)


def complaints(operator: Running) -> list[str]:
    """Log lines that tell of rights that are missing."""
    words = ("forbidden", "permission")
    return [
        line
        for line in operator.log.read_text().splitlines()
        if any(word in line.lower() for word in words)
    ]


def writes(plane: ControlPlane, operator: Running) -> list[dict[str, Any]]:
    """The audit log's entries on the operator's writes."""
    account = f"system:serviceaccount:{NAMESPACE}:{operator.name}"
    events = [json.loads(line) for line in plane.audit_log.read_text().splitlines()]
    return [
        event
        for event in events
        if event["user"]["username"] == account
        # Asked by the fixture, to see that the admission policy is in force.
        and "dryRun=All" not in event["requestURI"]
    ]


def refused(plane: ControlPlane, operator: Running) -> list[str]:
    """Writes of the operator that the API server has refused."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in writes(plane, operator)
        if event["responseStatus"]["code"] == 403
    ]
