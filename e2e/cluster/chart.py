"""Installs this tree's chart into a cluster."""

import json
import subprocess
import time
from pathlib import Path

from cluster import paths, tools
from cluster.errors import ClusterError

RELEASE = "slipway"
NAMESPACE = "slipway-system"


def helm(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
    """Runs helm in Slipway's namespace and returns what it printed.

    Raises:
        ClusterError: with what it said.
    """
    command = [
        str(tools.find("helm")), *arguments,
        f"--kubeconfig={kubeconfig}", f"--namespace={NAMESPACE}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)
    if done.returncode != 0:
        raise ClusterError(f"`helm {arguments[0]}` failed: {done.stderr.strip()}")
    return done.stdout


def install(kubeconfig: Path, prefix: str, tag: str, *settings: str) -> None:
    """Installs or upgrades; an earlier attempt that was broken off is cleared away first.

    Args:
        kubeconfig: of the cluster.
        prefix: of the images, with its slash.
        tag: of the images.
        settings: more of them, as `key=value`.

    Raises:
        ClusterError: with what helm said.
    """
    if _broken_off(kubeconfig):
        helm(kubeconfig, "uninstall", RELEASE, "--wait")
    # The tag stays the same when an image is built anew; this makes new pods of it.
    fresh = f"--set-string=podAnnotations.slipway\\.dev/installed={int(time.time())}"
    helm(
        kubeconfig, "upgrade", "--install", RELEASE, str(paths.REPOSITORY / "charts/slipway"),
        "--create-namespace", f"--set=imagePrefix={prefix}", f"--set=imageTag={tag}", fresh,
        *(f"--set={setting}" for setting in settings), "--wait", "--timeout=5m",
    )  # fmt: skip


def _broken_off(kubeconfig: Path) -> bool:
    try:
        found = json.loads(helm(kubeconfig, "status", RELEASE, "--output=json"))
    except ClusterError:
        return False
    return str(found["info"]["status"]).startswith("pending")
