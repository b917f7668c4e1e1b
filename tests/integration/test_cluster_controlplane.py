"""The control plane alone: up in seconds, side by side, and gone with whoever started it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster import proc
from cluster.controlplane import ControlPlane
from cluster.daemons import OWNER
from cluster.errors import ComponentError
from cluster.paths import REPOSITORY
from cluster.tools import find

# What the integration tests are promised: 4 to 5 s on two idle cores, and more than ten times that on busy ones.
PROMISED_SECONDS = 60.0


@pytest.fixture(scope="module", autouse=True)
def tools_are_built() -> None:
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"):
        find(name)


def kubectl(kubeconfig: Path, *arguments: str) -> str:
    done = subprocess.run(
        [find("kubectl"), "--kubeconfig", kubeconfig, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def owned_by(directory: Path) -> list[int]:
    return [
        process.stat.pid
        for process in proc.processes()
        if process.stat.running and process.environment.get(OWNER) == str(directory)
    ]


def test_is_ready_within_the_promised_time(tmp_path: Path) -> None:
    begun = time.monotonic()
    with ControlPlane.start(tmp_path) as plane:
        assert time.monotonic() - begun <= PROMISED_SECONDS
        assert "namespace/kube-system" in kubectl(
            plane.kubeconfig, "get", "namespaces", "-o", "name"
        )
    assert owned_by(tmp_path) == []


def test_two_side_by_side_share_nothing(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path / "a") as one, ControlPlane.start(tmp_path / "b") as two:
        kubectl(one.kubeconfig, "create", "namespace", "only-here")
        assert "only-here" in kubectl(one.kubeconfig, "get", "namespaces")
        assert "only-here" not in kubectl(two.kubeconfig, "get", "namespaces")


def test_a_killed_api_server_comes_back_with_its_data(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path) as plane:
        kubectl(plane.kubeconfig, "create", "namespace", "kept")
        plane.kill_apiserver()
        assert not plane.ready()
        plane.start_apiserver()
        assert "kept" in kubectl(plane.kubeconfig, "get", "namespaces")


def test_other_users_may_do_what_rbac_grants_and_no_more(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path) as plane:
        viewer = plane.kubeconfig_for("jane", ("viewers",))
        assert "Forbidden" in kubectl(viewer, "get", "pods")
        kubectl(
            *(plane.kubeconfig, "create", "clusterrole", "pod-reader"),
            *("--verb=get,list", "--resource=pods"),
        )
        kubectl(
            *(plane.kubeconfig, "create", "clusterrolebinding", "viewers"),
            *("--clusterrole=pod-reader", "--group=viewers"),
        )
        # The authorizer learns of a binding by a watch, so a moment later.
        deadline = time.monotonic() + 60
        while "Forbidden" in kubectl(viewer, "get", "pods"):
            assert time.monotonic() < deadline
        assert "Forbidden" in kubectl(viewer, "create", "namespace", "other")


def test_controllers_and_scheduler_work_on_request(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path, controllers=True, scheduler=True) as plane:
        kubectl(plane.kubeconfig, "create", "deployment", "web", "--image=localhost/none")
        waited = kubectl(
            *(plane.kubeconfig, "wait", "pod", "--selector=app=web", "--timeout=90s"),
            *("--for=create",),
        )
        assert "condition met" in waited
        # With no node there is no place, and the scheduler says so.
        waited = kubectl(
            *(plane.kubeconfig, "wait", "pod", "--selector=app=web", "--timeout=90s"),
            "--for=jsonpath={.status.conditions[0].reason}=Unschedulable",
        )
        assert "condition met" in waited


def test_the_audit_log_holds_every_write(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path, audit=True) as plane:
        kubectl(plane.kubeconfig, "create", "service", "clusterip", "web", "--tcp=80")
        lines = [json.loads(line) for line in plane.audit_log.read_text().splitlines()]
    written = [
        (line["verb"], line["objectRef"]["resource"], line["requestObject"]["metadata"]["name"])
        for line in lines
        if line["user"]["username"] == "admin" and line["level"] == "RequestResponse"
    ]
    assert written == [("create", "services", "web")]


def test_no_process_stays_when_the_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, signal; from cluster.controlplane import ControlPlane;"
        "ControlPlane.start(pathlib.Path(sys.argv[1])); print('up', flush=True); signal.pause()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "e2e")},
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        descriptors = {pid: os.pidfd_open(pid) for pid in owned_by(tmp_path)}
        assert len(descriptors) == 2
        parent.send_signal(signal.SIGKILL)
        for descriptor in descriptors.values():
            gone = select.poll()
            gone.register(descriptor, select.POLLIN)
            assert gone.poll(10_000)
            os.close(descriptor)
    assert owned_by(tmp_path) == []


def test_a_part_that_cannot_start_is_named_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "tools"
    broken.mkdir()
    (broken / "kube-apiserver").write_text("#!/bin/sh\necho no room left; exit 1\n")
    (broken / "kube-apiserver").chmod(0o755)
    monkeypatch.setenv("SLIPWAY_TOOLS", str(broken))
    find.cache_clear()
    try:
        with pytest.raises(ComponentError, match=r"kube-apiserver ended before(.|\n)*no room left"):
            ControlPlane.start(tmp_path / "plane")
    finally:
        find.cache_clear()
    assert owned_by(tmp_path / "plane") == []
