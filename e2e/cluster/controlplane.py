"""A Kubernetes control plane without a node: etcd and the API server, the controllers on request.

    with ControlPlane.start(directory) as plane:
        subprocess.run([find("kubectl"), "--kubeconfig", plane.kubeconfig, "get", "namespaces"])

Several run side by side on free ports. The programs end when the process that started them ends,
however it ends, unless they are asked to outlive it (as the node's control plane is).
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster import kubeconfigs, tools
from cluster.daemons import Daemon, Program
from cluster.pki import Authority
from cluster.ports import free_ports
from cluster.probes import answers

READY_SECONDS = 60.0
SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
POD_RANGE = "10.244.0.0/16"
ADMINISTRATORS = "system:masters"

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "None", "nonResourceURLs": ["*"]},
        {
            "level": "RequestResponse",
            "resources": [
                {"group": "", "resources": ["pods", "services"]},
                {"group": "apps", "resources": ["deployments", "deployments/scale"]},
                {"group": "slipway.dev"},
            ],
        },
        {"level": "Metadata"},
    ],
}
"""Every write, with its bodies where scenarios look at them; but no leases, they never end."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the programs listen."""

    apiserver: int
    etcd: int
    etcd_peer: int
    controllers: int
    scheduler: int

    @classmethod
    def free(cls) -> Self:
        return cls(*free_ports(5))


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs' paths; those of parts that were not asked for are not looked up."""

    etcd: Path
    apiserver: Path
    controllers: Path | None = None
    scheduler: Path | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything the programs' command lines follow from."""

    directory: Path
    ports: Ports
    binaries: Binaries
    address: str = "127.0.0.1"
    """Where the API server listens; unless it is loopback, pods reach it there as `kubernetes`."""

    audit: bool = False

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.ports.apiserver}"

    @property
    def audit_log(self) -> Path:
        return self.directory / "logs" / "audit.jsonl"


def etcd(layout: Layout) -> Program:
    client = f"http://127.0.0.1:{layout.ports.etcd}"
    peer = f"http://127.0.0.1:{layout.ports.etcd_peer}"
    return Program(
        "etcd",
        (
            str(layout.binaries.etcd),
            f"--data-dir={layout.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # The state lives as long as the machine runs, or shorter.
            "--log-level=warn",
        ),
    )


def apiserver(layout: Layout) -> Program:
    pki = layout.pki
    alone = layout.address.startswith("127.")
    reach = (
        # A loopback address is no endpoint that a pod could use.
        ("--endpoint-reconciler-type=none",)
        if alone
        else (
            f"--advertise-address={layout.address}",
            f"--kubelet-client-certificate={pki / 'admin.crt'}",
            f"--kubelet-client-key={pki / 'admin.key'}",
            "--kubelet-preferred-address-types=InternalIP",
        )
    )
    audit = (
        (
            f"--audit-policy-file={layout.directory / 'audit-policy.json'}",
            f"--audit-log-path={layout.audit_log}",
            "--audit-log-mode=blocking",
        )
        if layout.audit
        else ()
    )
    return Program(
        "kube-apiserver",
        (
            str(layout.binaries.apiserver),
            f"--etcd-servers=http://127.0.0.1:{layout.ports.etcd}",
            f"--bind-address={layout.address}",
            f"--secure-port={layout.ports.apiserver}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            # Nobody has such a certificate; without the setting the controllers complain every minute.
            f"--requestheader-client-ca-file={pki / 'ca.crt'}",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki / 'service-accounts.pub'}",
            f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
            "--authorization-mode=Node,RBAC",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--allow-privileged=true",
            "--profiling=false",
            *reach,
            *audit,
        ),
    )


def controllers(layout: Layout) -> Program:
    kubeconfig = layout.pki / "controllers.kubeconfig"
    return Program(
        "kube-controller-manager",
        (
            str(layout.binaries.controllers),
            *_client_flags(kubeconfig),
            "--bind-address=127.0.0.1",
            f"--secure-port={layout.ports.controllers}",
            f"--service-account-private-key-file={layout.pki / 'service-accounts.key'}",
            f"--root-ca-file={layout.pki / 'ca.crt'}",
            "--use-service-account-credentials",
            f"--cluster-cidr={POD_RANGE}",
            "--allocate-node-cidrs",
            "--leader-elect=false",
            "--profiling=false",
        ),
    )


def scheduler(layout: Layout) -> Program:
    kubeconfig = layout.pki / "scheduler.kubeconfig"
    return Program(
        "kube-scheduler",
        (
            str(layout.binaries.scheduler),
            *_client_flags(kubeconfig),
            "--bind-address=127.0.0.1",
            f"--secure-port={layout.ports.scheduler}",
            "--leader-elect=false",
            "--profiling=false",
        ),
    )


def _client_flags(kubeconfig: Path) -> tuple[str, ...]:
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
    )


class ControlPlane:
    """A running control plane. RBAC is on; `kubeconfig` is the administrator's."""

    def __init__(self, layout: Layout, *, dies_with_parent: bool = True) -> None:
        self.layout = layout
        self.kubeconfig = layout.directory / "admin.kubeconfig"
        daemon = partial(Daemon, state=layout.directory, dies_with_parent=dies_with_parent)
        self.etcd = daemon(etcd(layout))
        self.apiserver = daemon(apiserver(layout))
        self.controllers = daemon(controllers(layout)) if layout.binaries.controllers else None
        self.scheduler = daemon(scheduler(layout)) if layout.binaries.scheduler else None

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        controllers: bool = False,
        scheduler: bool = False,
        audit: bool = False,
    ) -> Self:
        """Starts a control plane of its own on free ports of 127.0.0.1 and waits until it is ready.

        Args:
            directory: takes certificates, data and logs; the caller removes it.
            controllers: also run the controller manager: Deployments get ReplicaSets, orphans go,
                and the roles view, edit and admin are filled.
            scheduler: also run the scheduler.
            audit: write every change to `audit_log`.

        Raises:
            ComponentError: with the end of the log of the part that failed.
        """
        binaries = Binaries(
            etcd=tools.find("etcd"),
            apiserver=tools.find("kube-apiserver"),
            controllers=tools.find("kube-controller-manager") if controllers else None,
            scheduler=tools.find("kube-scheduler") if scheduler else None,
        )
        plane = cls(Layout(directory.resolve(), Ports.free(), binaries, audit=audit))
        try:
            plane.bring_up()
        except BaseException:
            plane.stop()
            raise
        return plane

    @property
    def url(self) -> str:
        return self.layout.url

    @property
    def audit_log(self) -> Path:
        """JSON lines of every change, when the control plane was started with `audit`."""
        return self.layout.audit_log

    def bring_up(self) -> None:
        """Makes what is missing and starts what does not run."""
        self._prepare()
        self.etcd.start()
        self.etcd.wait_ready(self.etcd_healthy, within=READY_SECONDS, sign="healthy")
        self.start_apiserver()
        optional = (
            (self.controllers, self.controllers_healthy),
            (self.scheduler, self.scheduler_healthy),
        )
        for daemon, _ in optional:
            if daemon is not None:
                daemon.start()
        for daemon, healthy in optional:
            if daemon is not None:
                daemon.wait_ready(healthy, within=READY_SECONDS, sign="healthy")

    def start_apiserver(self) -> None:
        """Starts the API server (again, on the same port) and waits until it is ready."""
        self.apiserver.start()
        self.apiserver.wait_ready(self.ready, within=READY_SECONDS, sign="ready")

    def kill_apiserver(self) -> None:
        """Ends the API server as a crash would; everything else goes on."""
        self.apiserver.kill()

    def ready(self) -> bool:
        """Whether the API server says so itself."""
        return answers(f"{self.url}/readyz", authority=self.layout.pki / "ca.crt")

    def etcd_healthy(self) -> bool:
        return answers(f"http://127.0.0.1:{self.layout.ports.etcd}/readyz")

    def controllers_healthy(self) -> bool:
        return answers(f"https://127.0.0.1:{self.layout.ports.controllers}/healthz")

    def scheduler_healthy(self) -> bool:
        return answers(f"https://127.0.0.1:{self.layout.ports.scheduler}/healthz")

    def kubeconfig_for(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """Writes a kubeconfig for another user: RBAC says what the user and the groups may do."""
        name = "user-" + "".join(c if c.isalnum() else "-" for c in user)
        pki = self.layout.pki
        client = self._authority().issue(name, user, groups)
        return kubeconfigs.write(pki / f"{name}.kubeconfig", self.url, pki / "ca.crt", client)

    def stop(self, *, grace: float = 0.0) -> None:
        """Ends every part: at once, or after a grace period of seconds for each."""
        for daemon in (self.scheduler, self.controllers, self.apiserver, self.etcd):
            if daemon is None:
                continue
            if grace:
                daemon.stop(grace=grace)
            else:
                daemon.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _authority(self) -> Authority:
        return Authority(self.layout.pki, datetime.now(UTC))

    def _prepare(self) -> None:
        if self.kubeconfig.exists():
            return
        pki = self.layout.pki
        authority = self._authority()
        hosts = (
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "127.0.0.1",
            SERVICE_ADDRESS,
            self.layout.address,
        )
        authority.issue("apiserver", "kube-apiserver", hosts=tuple(dict.fromkeys(hosts)))
        authority.signing_key("service-accounts")
        for name, user in (
            ("controllers", "system:kube-controller-manager"),
            ("scheduler", "system:kube-scheduler"),
        ):
            client = authority.issue(name, user)
            kubeconfigs.write(pki / f"{name}.kubeconfig", self.url, pki / "ca.crt", client)
        (self.layout.directory / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
        client = authority.issue("admin", "admin", (ADMINISTRATORS,))
        kubeconfigs.write(self.kubeconfig, self.url, pki / "ca.crt", client)
