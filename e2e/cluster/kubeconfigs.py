"""Kubeconfig files that carry everything they need."""

import base64
from pathlib import Path
from typing import Any

import yaml

from cluster.pki import Pair


def render(server: str, authority: bytes, certificate: bytes, key: bytes) -> dict[str, Any]:
    """A kubeconfig document with one cluster, one user and one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "slipway",
        "contexts": [{"name": "slipway", "context": {"cluster": "slipway", "user": "slipway"}}],
        "clusters": [
            {
                "name": "slipway",
                "cluster": {"server": server, "certificate-authority-data": _encoded(authority)},
            }
        ],
        "users": [
            {
                "name": "slipway",
                "user": {
                    "client-certificate-data": _encoded(certificate),
                    "client-key-data": _encoded(key),
                },
            }
        ],
    }


def write(path: Path, server: str, authority: Path, client: Pair) -> Path:
    """Writes the file, readable by this user alone, in one step."""
    document = render(
        server, authority.read_bytes(), client.certificate.read_bytes(), client.key.read_bytes()
    )
    draft = path.with_name(path.name + ".new")
    draft.touch(mode=0o600)
    draft.write_text(yaml.safe_dump(document, sort_keys=False))
    return draft.replace(path)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
