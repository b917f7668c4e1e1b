"""Where things lie on this machine: the repository, its private state, and the shared cache."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
STATE = REPOSITORY / ".local" / "cluster"
KUBECONFIG = REPOSITORY / ".local" / "kubeconfig"


def cache() -> Path:
    """The folder for what is expensive to make and safe to share between checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "slipway"
