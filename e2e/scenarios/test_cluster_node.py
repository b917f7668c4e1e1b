"""The node itself: what runs on it, what it survives, and that nothing of it stays.

These tests take the machine's node down, with whatever runs on it.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest

from cluster import paths, proc
from cluster.daemons import OWNER
from cluster.errors import ClusterError
from cluster.images import IMAGES, build_layout
from cluster.node import Cluster, down
from cluster.probes import until

PYTHON_IMAGE = next(image for image in IMAGES if image.name == "slipway-sync")
"""Any image with a Python in it serves."""


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Machine:
    """What a node could leave behind, told without the code under test."""

    processes: frozenset[str] = field(default_factory=frozenset)
    mounts: frozenset[str] = field(default_factory=frozenset)
    network_namespaces: frozenset[str] = field(default_factory=frozenset)
    links: frozenset[str] = field(default_factory=frozenset)
    addresses: frozenset[str] = field(default_factory=frozenset)
    cgroups: frozenset[str] = field(default_factory=frozenset)
    rules: str = ""
    listening: frozenset[str] = field(default_factory=frozenset)
    settings: str = ""
    files: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def now(cls) -> "Machine":
        words = re.compile(r"slipway|kube|containerd|runc|pause|coredns|etcd|versitygw")
        tools = str(paths.cache() / "tools")
        folders = ("/run/slipway", "/var/lib/kubelet", "/var/lib/cni", "/run/containerd")
        return cls(
            processes=frozenset(
                f"{p.stat.pid} {' '.join(p.arguments)}"
                for p in proc.processes()
                if p.stat.running
                # Control planes that other tests run side by side keep to their own folders.
                and (
                    p.environment.get(OWNER) == str(paths.STATE)
                    or any("kubepods" in cgroup for cgroup in p.cgroups)
                    or (tools in " ".join(p.arguments) and OWNER not in p.environment)
                )
            ),
            mounts=frozenset(
                line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
            ),
            network_namespaces=frozenset(
                [
                    *said("lsns", "--type=net", "--noheadings", "--output=TYPE,NS").splitlines(),
                    # Held by a mount alone, as a killed pod's is.
                    *re.findall(r" (net:\[\d+\]) ", Path("/proc/self/mountinfo").read_text()),
                ]
            ),
            links=frozenset(
                link["ifname"] for link in json.loads(said("ip", "-json", "link", "show"))
            ),
            addresses=frozenset(said("ip", "-brief", "address").splitlines()),
            cgroups=frozenset(
                str(Path(top) / name)
                for top, names, _ in os.walk("/sys/fs/cgroup")
                for name in names
                if words.search(name)
            ),
            rules=said("nft", "list", "ruleset"),
            listening=frozenset(
                line
                for line in said("ss", "-ltnH").splitlines()
                if re.search(r":(6443|2379|2380|10\d\d\d|1053|8185|7070)\s", line)
            ),
            settings=Path("/proc/sys/net/ipv4/ip_forward").read_text(),
            files=frozenset(
                str(path)
                for folder in folders
                for path in (Path(folder), *Path(folder).rglob("*"))
                if path.exists()
            ),
        )

    def left_of(self, before: "Machine") -> dict[str, Any]:
        """What differs from how it was before."""
        return {
            f.name: sorted(set(now) - set(was)) if isinstance(now, frozenset) else now
            for f in fields(self)
            if (now := getattr(self, f.name)) != (was := getattr(before, f.name))
        }


@pytest.fixture(scope="module")
def before() -> Iterator[Machine]:
    try:
        Cluster.load()
        was_up = True
    except ClusterError:
        was_up = False
    down()
    build_layout([PYTHON_IMAGE])
    yield Machine.now()
    down()
    if was_up:
        Cluster.up()


@pytest.fixture(scope="module")
def node(before: Machine) -> Cluster:
    assert not before.processes
    return fresh_node()


def fresh_node() -> Cluster:
    cluster = Cluster.up(gpus=2)
    cluster.images.import_layout(paths.REPOSITORY / ".local" / "images")
    return cluster


def pod_spec(*command: str, gpus: int = 0) -> dict[str, Any]:
    """A pod that the restricted Pod Security level admits."""
    return {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "main",
                "image": PYTHON_IMAGE.reference,
                "imagePullPolicy": "Never",
                "command": list(command),
                "resources": {"limits": {"nvidia.com/gpu": gpus}} if gpus else {},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


def pod(name: str, *command: str, gpus: int = 0) -> dict[str, Any]:
    spec = {"restartPolicy": "Never", **pod_spec(*command, gpus=gpus)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def web(replicas: int = 2) -> list[dict[str, Any]]:
    """A Deployment of web servers and its Service."""
    labels = {"app": "web"}
    spec = pod_spec("python3", "-m", "http.server", "8080", "--directory", "/etc/ssl")
    spec["containers"][0]["readinessProbe"] = {
        "httpGet": {"path": "/", "port": 8080},
        "periodSeconds": 1,
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


def serve(cluster: Cluster) -> None:
    cluster.kubectl.apply(*web())
    cluster.kubectl.run("rollout", "status", "deployment/web", "--timeout=60s")


def completed(cluster: Cluster, name: str) -> str:
    """A pod's output once it has succeeded."""
    until(
        lambda: phase(cluster, name) in ("Succeeded", "Failed"),
        within=60,
        what=f"pod {name} to end",
    )
    output = cluster.kubectl.run("logs", name)
    assert phase(cluster, name) == "Succeeded", output
    return output


def phase(cluster: Cluster, name: str) -> str:
    return str(cluster.kubectl.json("get", "pod", name)["status"].get("phase"))


def running_pods(cluster: Cluster) -> dict[str, int]:
    """Pod uid to number of restarts."""
    return {
        pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"]["containerStatuses"])
        for pod in cluster.kubectl.json("get", "pods", "--selector=app=web")["items"]
    }


def kill_everything(state: Path) -> None:
    """What a power cut to every program at once would do, shims and pods included."""
    victims = [p.stat.pid for p in proc.processes() if p.environment.get(OWNER) == str(state)]
    victims += [
        p.stat.pid for p in proc.processes() if any("/slipway/" in cgroup for cgroup in p.cgroups)
    ]
    assert len(victims) > 10
    for pid in victims:
        os.kill(pid, signal.SIGKILL)


def test_pods_reach_services_dns_s3_and_the_api_server(node: Cluster) -> None:
    serve(node)
    node.s3.create_bucket("models")
    program = f"""
import socket, ssl, urllib.request, urllib.error
print("service", urllib.request.urlopen("http://web.default/").status)
try:
    urllib.request.urlopen("{node.s3.endpoint}/models/x")
except urllib.error.HTTPError as error:
    print("s3", error.code)
context = ssl.create_default_context(
    cafile="/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)
print("api", urllib.request.urlopen("https://kubernetes.default.svc/livez", context=context).status)
try:
    socket.getaddrinfo("example.com", 80)
except socket.gaierror as error:
    print("elsewhere", error.args[0] == socket.EAI_NONAME)
"""
    node.kubectl.apply(pod("client", "python3", "-c", program))
    assert completed(node, "client").splitlines() == [
        "service 200",
        "s3 403",
        "api 200",
        "elsewhere True",
    ]


def test_the_host_reaches_services(node: Cluster) -> None:
    serve(node)
    address = node.kubectl.json("get", "service", "web")["spec"]["clusterIP"]
    answer = said("curl", "--silent", "--output", "/dev/null", "-w", "%{http_code}", address)
    assert answer == "200"


def test_gpus_are_scheduled_and_their_number_changes_live(node: Cluster) -> None:
    show = "import os, signal; print(os.environ['NVIDIA_VISIBLE_DEVICES'], flush=True)"
    stay = f"{show}; signal.signal(signal.SIGTERM, lambda *_: exit(0)); signal.pause()"
    for name in ("gpu-a", "gpu-b", "gpu-c"):
        node.kubectl.apply(pod(name, "python3", "-c", stay, gpus=1))
        if name != "gpu-c":
            node.kubectl.run("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=30s")
    node.kubectl.run(
        *("wait", "pod/gpu-c", "--timeout=30s"),
        "--for=jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable",
    )
    seen = {node.kubectl.run("logs", name).strip() for name in ("gpu-a", "gpu-b")}
    assert seen == {"GPU-0", "GPU-1"}

    node.set_gpus(3)
    node.kubectl.run("wait", "pod/gpu-c", "--for=condition=Ready", "--timeout=30s")

    node.set_gpus(0)
    assert {phase(node, name) for name in ("gpu-a", "gpu-b", "gpu-c")} == {"Running"}
    node.kubectl.run("delete", "pod", "gpu-a", "gpu-b", "gpu-c")
    node.set_gpus(2)


def test_up_again_keeps_everything(node: Cluster) -> None:
    serve(node)
    pids = [part.daemon.pid for part in node.parts]
    pods = running_pods(node)
    again = Cluster.up()
    assert [part.daemon.pid for part in again.parts] == pids
    assert running_pods(again) == pods
    assert again.offered_gpus() == 2


def test_up_revives_what_died_and_pods_go_on(node: Cluster) -> None:
    serve(node)
    pods = running_pods(node)
    for part in node.parts:
        if part.daemon.program.name != "etcd":
            part.daemon.kill()
    Cluster.up()
    assert all(part.daemon.alive and part.healthy() for part in node.parts)
    assert node.offered_gpus() == 2
    assert running_pods(node) == pods
    node.kubectl.run("scale", "deployment/web", "--replicas=3")
    node.kubectl.run("rollout", "status", "deployment/web", "--timeout=60s")


def test_the_s3_server_is_found_again_with_changed_keys(node: Cluster) -> None:
    before = node.s3.change_credentials()
    node.s3.create_bucket("other")
    found = Cluster.load().s3
    assert found.secret_key != before.secret_key
    assert "other" in [bucket.name for bucket in found.client().list_buckets()]


def test_up_after_everything_was_killed_starts_anew(node: Cluster, before: Machine) -> None:
    serve(node)
    kill_everything(paths.STATE)
    left = Machine.now().left_of(before)
    assert {"mounts", "network_namespaces", "links", "cgroups", "rules"} <= left.keys()
    serve(fresh_node())


def test_down_leaves_nothing_of_a_running_node(before: Machine) -> None:
    serve(fresh_node())
    down()
    assert Machine.now().left_of(before) == {}
    assert not paths.STATE.exists()
    assert not paths.KUBECONFIG.exists()


def test_down_leaves_nothing_after_everything_was_killed(before: Machine) -> None:
    serve(fresh_node())
    kill_everything(paths.STATE)
    down()
    assert Machine.now().left_of(before) == {}
    assert not paths.STATE.exists()


def test_an_up_that_was_killed_half_way_is_made_good(before: Machine) -> None:
    down()
    starting = subprocess.Popen(
        [sys.executable, "-m", "cluster", "up"],
        env={**os.environ, "PYTHONPATH": str(paths.REPOSITORY / "e2e")},
        stderr=subprocess.DEVNULL,
    )
    with starting:
        until((paths.STATE / "run" / "kubelet.json").exists, within=60, what="the kubelet's record")
        starting.kill()
    with pytest.raises(ClusterError, match="not up"):
        Cluster.load()
    serve(fresh_node())
    down()
    assert Machine.now().left_of(before) == {}


def test_down_twice_is_no_error(before: Machine) -> None:
    down()
    down()
    assert Machine.now().left_of(before) == {}


def test_building_an_image_leaves_no_mount() -> None:
    cache = paths.cache()
    # What the storage library does: the folder over itself, on the same device.
    root = cache / "buildah" / "root" / "overlay"
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", root, root], check=True)
    build_layout([PYTHON_IMAGE])
    assert str(cache) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.usefixtures("before")
def test_a_taken_port_is_named_before_anything_starts() -> None:
    down()
    with (
        socket.create_server(("127.0.0.1", 2379)),
        pytest.raises(ClusterError, match=r"ports are taken: 127\.0\.0\.1:2379"),
    ):
        Cluster.up()
    assert not paths.STATE.exists()
