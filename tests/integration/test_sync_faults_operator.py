"""What the operator makes of a source in trouble: what serves goes on, the row names the object, and all heals by itself."""

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster.controlplane import ControlPlane
from cluster.s3 import S3Server
from fakekubelet import FakeKubelet
from faults import Fault, FaultProxy, on
from world import Bucket, Kube, Operator, eventually, running_operator, tiny_export


class Told(FakeKubelet):
    """A kubelet whose sync containers end as a test says: exit code and termination message."""

    ends: tuple[int, dict[str, Any]] | None = None

    def _progress(self, pod: Any) -> None:
        if self.ends is None or int(pod.metadata.labels["slipway.dev/version"]) != 2:
            super()._progress(pod)
            return
        code, told = self.ends
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = {
            "exitCode": code, "message": json.dumps(told), "reason": "Error",
            "startedAt": now, "finishedAt": now,
        }  # fmt: skip
        status = {
            "name": "sync", "image": "x", "imageID": "", "restartCount": 1, "ready": False,
            "state": {"terminated": ended},
        }  # fmt: skip
        self._patch(pod, {"initContainerStatuses": [status]})
