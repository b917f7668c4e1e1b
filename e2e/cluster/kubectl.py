"""kubectl, for what is easier to say to it than to the API."""

import json
import subprocess
from pathlib import Path
from typing import Any

from cluster import tools
from cluster.errors import ClusterError


class Kubectl:
    """kubectl with a kubeconfig; nothing of the caller's environment decides which cluster it asks."""

    def __init__(self, kubeconfig: Path, program: Path | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._program = program or tools.find("kubectl")

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Runs it and returns what it printed.

        Raises:
            ClusterError: it failed, or took longer than the timeout (seconds); with what it said.
        """
        command = [str(self._program), f"--kubeconfig={self._kubeconfig}", *arguments]
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(
                f"`kubectl {' '.join(arguments)}` took longer than {timeout:.0f} s"
            ) from error
        if done.returncode != 0:
            raise ClusterError(f"`kubectl {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """What it prints with `--output=json`, parsed."""
        return json.loads(self.run(*arguments, "--output=json"))

    def apply(self, *manifests: Any) -> None:
        """Applies manifests on the server's side, as owner of their fields."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.run(
            *("apply", "--server-side", "--force-conflicts", "--filename=-"),
            stdin=json.dumps(document),
        )
