"""Helm and the chart, for tests."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.client.exceptions import ApiException

from cluster import tools
from world import Kube

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "slipway"
NAMESPACE: Final = "slipway-system"
OPERATOR_PODS: Final = "app.kubernetes.io/name=slipway-operator"
"""Selector of the operator's pods, as the chart labels them."""

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm has failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm with a home of its own, and a cluster when it needs one."""

    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str) -> str:
        """What it printed.

        Raises:
            HelmError: It failed.
        """
        names = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
        environment = dict(os.environ) | {name: str(self.home / name.lower()) for name in names}
        environment["KUBECONFIG"] = str(self.kubeconfig or self.home / "none")
        done = subprocess.run(
            [tools.find("helm"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise HelmError(done.stderr)
        return done.stdout

    def render(
        self, *settings: str, chart: Path = CHART, release: str = "slipway"
    ) -> list[Manifest]:
        """Every manifest of the chart, the test's included; `settings` are for `--set`."""
        text = self.run(
            *("template", release, str(chart), f"--namespace={NAMESPACE}"),
            *(f"--set={setting}" for setting in settings),
        )
        return [document for document in yaml.safe_load_all(text) if document]

    def install(self, *settings: str, release: str = "slipway", namespace: str = NAMESPACE) -> str:
        """Install the chart; does not wait for pods, which nothing may be there to run."""
        return self.run(
            *("install", release, str(CHART), f"--namespace={namespace}", "--create-namespace"),
            *(f"--set={setting}" for setting in settings),
        )


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    """The only manifest of a kind, or of a kind and name."""
    [found] = [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and name in ("", manifest["metadata"]["name"])
    ]
    return found


def kinds(manifests: list[Manifest]) -> set[str]:
    return {manifest["kind"] for manifest in manifests}


def admission_policy_holds(operator: Kube, namespace: str) -> bool:
    """Whether the policy is in force for an operator's account: it is a moment after its creation.

    Asked by the creation of a ConfigMap without an owner, as a dry run.
    """
    try:
        operator.core.create_namespaced_config_map(
            namespace, {"metadata": {"name": "probe"}}, dry_run="All"
        )
    except ApiException as refusal:
        return "ValidatingAdmissionPolicy" in str(refusal)
    return False
