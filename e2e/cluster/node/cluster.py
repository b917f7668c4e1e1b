"""The whole node: up, down, and what scenarios do to it."""

import fcntl
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from cluster import kubeconfigs, paths, proc
from cluster.controlplane import ControlPlane
from cluster.daemons import Daemon
from cluster.errors import ClusterError
from cluster.kubectl import Kubectl
from cluster.node import clearing, configs, machine, programs, usage
from cluster.node.images import Containerd
from cluster.node.layout import (
    DNS_READY_PORT,
    GPU_RESOURCE,
    KUBELET_HEALTH_PORT,
    NODE,
    PROXY_HEALTH_PORT,
    SOCKETS,
    Layout,
    check_state,
)
from cluster.pki import Authority
from cluster.probes import accepts, answers, listens, until
from cluster.progress import note, step
from cluster.s3 import S3Server

DEFAULT_GPUS = 4
READY_SECONDS = 60.0
GPU_SECONDS = 30.0
DRAIN_SECONDS = 30.0
GRACE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Saved:
    """What a later process needs to find a running node again, with the programs it runs."""

    layout: Layout
    fingerprint: str
    boot: str


SAVED = TypeAdapter(Saved)


@dataclass(frozen=True, slots=True)
class Part:
    """One program of the node and how to tell that it is well."""

    daemon: Daemon
    healthy: Callable[[], bool]
    sign: str = "healthy"


class Cluster:
    """The local cluster of one node. There is one on a machine.

    cluster = Cluster.up(gpus=2)
    cluster.s3.create_bucket("models")
    cluster.kubectl.run("get", "nodes")
    cluster.down()
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.kubeconfig = _kubeconfig(layout.state)
        self.plane = ControlPlane(layout.plane, dies_with_parent=False)
        self.s3 = S3Server(layout.s3, dies_with_parent=False)
        self.kubectl = Kubectl(self.kubeconfig, layout.binaries.kubectl)
        self.images = Containerd(layout.containerd_socket, layout.binaries.ctr)
        self.containerd = Daemon(programs.containerd(layout), layout.state)
        self.kubelet = Daemon(programs.kubelet(layout), layout.state)
        self.proxy = Daemon(programs.proxy(layout), layout.state)
        self.dns = Daemon(programs.coredns(layout), layout.state)
        self.gpus = Daemon(programs.gpus(layout), layout.state)

    @classmethod
    def up(
        cls, state: Path = paths.STATE, *, gpus: int | None = None, audit: bool | None = None
    ) -> Self:
        """Brings the node up and waits until pods can run on it. One that is up already is kept.

        A node of which parts died gets them back; one of which nothing runs, or that was started
        from other programs or settings, is cleared away and started anew, unless another process
        uses it. While this process runs, no other one takes the node down.

        Args:
            state: the folder that takes everything; its parent takes the kubeconfig.
            gpus: how many fake GPUs it offers; by default as many as before, or four.
            audit: write every change of the API to `plane.audit_log`; by default as before, or not.

        Raises:
            ClusterError: says what failed.
        """
        state = state.resolve()
        machine.check_may()
        check_state(state)
        with _locked(state):
            machine.check_no_other_node(state)
            saved = _saved(state)
            if audit is None:
                audit = saved is not None and saved.layout.audit
            layout = Layout(state, machine.own_address(), machine.binaries(), audit)
            cluster = None if saved is None else cls._kept(saved, layout, gpus)
            if cluster is None:
                with usage.alone(state):
                    if clearing.find(state) or state.exists():
                        with step("clear what an earlier run left"):
                            clearing.clear(state)
                    cluster = cls._fresh(layout, DEFAULT_GPUS if gpus is None else gpus)
            usage.hold(state)
            return cluster

    @classmethod
    def load(cls, state: Path = paths.STATE) -> Self:
        """The node that another process brought up.

        Raises:
            ClusterError: there is none.
        """
        state = state.resolve()
        saved = _saved(state)
        if saved is None or saved.boot != proc.boot_id():
            raise ClusterError("the local cluster is not up; `make cluster-up` brings it up")
        usage.hold(state)
        return cls(saved.layout)

    @property
    def node_ip(self) -> str:
        """The address by which pods and this machine reach the S3 server and the API server."""
        return self.layout.address

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every program, in the order in which they are started."""
        plane = self.plane
        parts = [
            Part(plane.etcd, plane.etcd_healthy),
            Part(plane.apiserver, plane.ready, "ready"),
            Part(self.containerd, self.images.answers, "answering"),
            Part(self.s3.daemon, self._s3_answers, "taking connections"),
        ]
        if plane.controllers is not None and plane.scheduler is not None:
            parts += [
                Part(plane.controllers, plane.controllers_healthy),
                Part(plane.scheduler, plane.scheduler_healthy),
            ]
        return (
            *parts,
            Part(self.kubelet, _http("127.0.0.1", KUBELET_HEALTH_PORT, "healthz")),
            Part(self.proxy, _http("127.0.0.1", PROXY_HEALTH_PORT, "healthz")),
            Part(self.dns, _http(self.node_ip, DNS_READY_PORT, "ready"), "ready"),
            Part(self.gpus, lambda: listens(self.layout.gpu_socket), "listening"),
        )

    def down(self) -> None:
        """Ends everything and removes it: see `down`, which also works on a broken node."""
        down(self.layout.state)

    def set_gpus(self, count: int) -> None:
        """Makes the node offer this many GPUs and waits until the scheduler can know it.

        Pods that run keep what they were given, also when there are fewer GPUs now.
        """
        self.layout.gpu_count.write_text(str(count))
        self.gpus.send(signal.SIGHUP)
        until(
            lambda: self.offered_gpus() == count,
            within=GPU_SECONDS,
            what=f"the node to offer {count} GPUs; see {self.gpus.log} and {self.kubelet.log}",
        )

    def offered_gpus(self) -> int | None:
        """How many GPUs pods may use by the node's status; None when it names none yet."""
        status = self.kubectl.json("get", "node", NODE)["status"]
        offered = status.get("allocatable", {}).get(GPU_RESOURCE)
        return None if offered is None else int(offered)

    @classmethod
    def _kept(cls, saved: Saved, layout: Layout, gpus: int | None) -> Self | None:
        """The node that runs, with its dead parts revived; None if it must be started anew."""
        cluster = cls(layout)
        dead = [part for part in cluster.parts if not part.daemon.alive]
        if saved.boot != proc.boot_id() or len(dead) == len(cluster.parts):
            return None
        if saved.fingerprint != programs.fingerprint(layout):
            note("  the node that runs has other programs or settings, so it is started anew")
            return None
        try:
            for part in dead:
                with step(f"start {part.daemon.program.name} again"):
                    part.daemon.start()
                    part.daemon.wait_ready(part.healthy, within=READY_SECONDS, sign=part.sign)
            for part in cluster.parts:
                part.daemon.wait_ready(part.healthy, within=READY_SECONDS, sign=part.sign)
            cluster._wait_node()
            cluster.set_gpus(int(layout.gpu_count.read_text()) if gpus is None else gpus)
        except ClusterError as error:
            note(f"  what runs cannot be repaired: {error}")
            return None
        note("  the local cluster is up")
        return cluster

    @classmethod
    def _fresh(cls, layout: Layout, gpus: int) -> Self:
        machine.check_ports(layout)
        layout.state.mkdir(parents=True, mode=0o700)
        cluster = cls(layout)
        cluster._start(gpus)
        cluster._save()
        return cluster

    def _start(self, gpus: int) -> None:
        layout = self.layout
        clearing.prepare_settings(layout.state)
        clearing.prepare_cgroups()
        (SOCKETS / "s").mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, text in configs.files(layout).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        layout.gpu_count.write_text(str(gpus))
        with step("control plane"):
            self.plane.bring_up()
            shutil.copy2(self.plane.kubeconfig, self.kubeconfig)
            self._issue_certificates()
            self.kubectl.apply(*configs.manifests(layout))
        with step("containerd"):
            self._start_containerd()
            self.images.import_pause(layout.binaries.pause, layout.state)
        with step("kubelet, kube-proxy, DNS, S3, GPUs"):
            self.s3.resume()
            later = (self.kubelet, self.proxy, self.dns, self.gpus)
            for daemon in later:
                daemon.start()
            for daemon in later:
                self._wait(daemon)
        with step("node ready"):
            self._wait_node()
            self.set_gpus(gpus)

    def _start_containerd(self) -> None:
        """With the images of an earlier node, if they are good."""
        self.containerd.start()
        try:
            self._wait(self.containerd)
            if self.images.forget_pods():
                self.containerd.stop(grace=GRACE_SECONDS)
                self.containerd.start()
                self._wait(self.containerd)
            self.images.drop_replaced_images()
        except ClusterError as error:
            note(f"  containerd starts anew without the images that it had: {error}")
            self.containerd.kill()
            shutil.rmtree(self.layout.images, ignore_errors=True)
            self.containerd.start()
            self._wait(self.containerd)

    def _wait(self, daemon: Daemon) -> None:
        for part in self.parts:
            if part.daemon is daemon:
                daemon.wait_ready(part.healthy, within=READY_SECONDS, sign=part.sign)

    def _wait_node(self) -> None:
        """Until the node takes pods, and the default namespace has what pods need."""
        self.kubectl.run(*("wait", "node", NODE, "--for=create", f"--timeout={READY_SECONDS:.0f}s"))
        self.kubectl.run(
            *("wait", "node", NODE, "--for=condition=Ready", f"--timeout={READY_SECONDS:.0f}s")
        )
        self.kubectl.run(
            *("wait", "serviceaccount", "default", "--namespace=default", "--for=create"),
            f"--timeout={READY_SECONDS:.0f}s",
        )

    def _issue_certificates(self) -> None:
        layout = self.layout
        authority = Authority(layout.pki, datetime.now(UTC))
        clients: Mapping[str, tuple[str, tuple[str, ...]]] = {
            "kubelet": (f"system:node:{NODE}", ("system:nodes",)),
            "proxy": ("system:kube-proxy", ()),
            "dns": ("coredns", ()),
        }
        for name, (user, groups) in clients.items():
            hosts = (NODE, layout.address) if name == "kubelet" else ()
            pair = authority.issue(name, user, groups, hosts)
            kubeconfigs.write(
                layout.pki / f"{name}.kubeconfig", self.plane.url, layout.pki / "ca.crt", pair
            )

    def _s3_answers(self) -> bool:
        return accepts(self.s3.layout.address, self.s3.layout.port)

    def _save(self) -> None:
        saved = Saved(self.layout, programs.fingerprint(self.layout), proc.boot_id())
        path = _record(self.layout.state)
        draft = path.with_suffix(".new")
        draft.write_bytes(SAVED.dump_json(saved, indent=2))
        draft.rename(path)

    def drain_pods(self) -> None:
        """Ends all pods in the ordinary way, so that the kubelet takes back what it gave them."""
        for daemon in (self.plane.scheduler, self.plane.controllers):
            if daemon is not None:
                daemon.stop(grace=GRACE_SECONDS)  # They would make new pods.
        self.kubectl.run(
            *("delete", "pods", "--all", "--all-namespaces", "--grace-period=1", "--wait=false")
        )
        until(lambda: not self.images.tasks(), within=DRAIN_SECONDS, what="the pods to end")

    def stop_programs(self) -> None:
        """Ends every program, the last started first; what they made stays."""
        for part in reversed(self.parts):
            part.daemon.stop(grace=GRACE_SECONDS)


def down(state: Path = paths.STATE, *, force: bool = False) -> None:
    """Ends the node, whole or broken, and removes everything that it brought to this machine.

    Args:
        state: the node's state folder.
        force: also while another process uses the node.

    Raises:
        ClusterError: another process uses the node, or something could not be removed; says what.
    """
    state = state.resolve()
    with _locked(state), usage.alone(state, force=force):
        saved = _saved(state)
        if saved is not None and saved.boot == proc.boot_id():
            cluster = Cluster(saved.layout)
            if all(part.daemon.alive for part in cluster.parts):
                with step("end pods"):
                    try:
                        cluster.drain_pods()
                    except ClusterError as error:
                        note(f"  the pods are ended the hard way: {error}")
            with step("stop programs"):
                cluster.stop_programs()
        with step("clear"):
            clearing.clear(state)
        _kubeconfig(state).unlink(missing_ok=True)


def _kubeconfig(state: Path) -> Path:
    return state.parent / "kubeconfig"


def _record(state: Path) -> Path:
    return state / "cluster.json"


def _saved(state: Path) -> Saved | None:
    try:
        return SAVED.validate_json(_record(state).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None  # A record of another shape is of an older node: it is cleared and made anew.


def _http(address: str, port: int, path: str) -> Callable[[], bool]:
    return lambda: answers(f"http://{address}:{port}/{path}")


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """One `up` or `down` at a time."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with (state.parent / f"{state.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("  waiting for another process that changes the cluster …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
