"""Where things lie on this machine: the repository, its private state, and the shared cache."""

import hashlib
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST_STATE = 60
"""The kubelet makes sockets some 45 characters deep in its folder; a socket's path ends at 107."""


def state_of(repository: Path) -> Path:
    """Where a checkout's node keeps what it has: in the checkout, unless its path is too long."""
    inside = repository / ".local" / "cluster"
    if len(str(inside)) <= LONGEST_STATE:
        return inside
    name = hashlib.sha256(str(repository).encode()).hexdigest()[:8]
    return Path("/var/lib") / f"slipway-{name}" / "cluster"


STATE = state_of(REPOSITORY)
KUBECONFIG = REPOSITORY / ".local" / "kubeconfig"
LOGS = REPOSITORY / ".local" / "logs"
"""What builds say."""


def cache() -> Path:
    """The folder for what is expensive to make and safe to share between checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "slipway"
