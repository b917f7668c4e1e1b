"""Runs a pod's sync container by hand: its own arguments, its volumes as folders, no kubelet."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from kubelet_expansion import expand
from world import Kube


def sync_by_hand(kube: Kube, namespace: str, deployment: str, directory: Path) -> dict[str, Any]:
    """Sync what the Deployment's pods would, below a directory.

    Returns:
        The agent's last line. `directory`/models/MODEL/VERSION holds what it brought.
    """
    made = kube.apps.read_namespaced_deployment(deployment, namespace)
    pod = kube.api.sanitize_for_serialization(made.spec.template.spec)
    [container] = [item for item in pod["initContainers"] if item["name"] == "sync"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    places = {}
    for mount in container["volumeMounts"]:
        place = directory / mount["name"]
        place.mkdir(parents=True, exist_ok=True)
        _fill(kube, namespace, volumes[mount["name"]], place)
        places[mount["mountPath"]] = str(place)
    places["/dev/termination-log"] = str(directory / "termination-log")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "slipway_sync.agent",
            *(_here(expand(a), places) for a in container["args"]),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last


def _here(argument: str, places: dict[str, str]) -> str:
    """An argument with the folder of this machine in the place of the pod's."""
    name, equals, value = argument.partition("=")
    for path, place in sorted(places.items(), key=lambda item: -len(item[0])):
        if value == path or value.startswith(f"{path}/"):
            return f"{name}{equals}{place}{value[len(path) :]}"
    return argument


def _fill(kube: Kube, namespace: str, volume: dict[str, Any], place: Path) -> None:
    """Put the files of a Secret or ConfigMap into a folder."""
    data: dict[str, bytes] = {}
    items: list[dict[str, str]] = []
    if secret := volume.get("secret"):
        found = kube.core.read_namespaced_secret(secret["secretName"], namespace)
        data = {key: base64.b64decode(value) for key, value in (found.data or {}).items()}
        items = secret.get("items") or []
    elif mapped := volume.get("configMap"):
        read = kube.core.read_namespaced_config_map(mapped["name"], namespace)
        data = {key: value.encode() for key, value in (read.data or {}).items()}
        items = mapped.get("items") or []
    paths = {item["key"]: item["path"] for item in items} or {key: key for key in data}
    for key, path in paths.items():
        (place / path).write_bytes(data[key])
