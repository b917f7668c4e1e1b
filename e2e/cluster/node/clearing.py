"""Taking a node off this machine, whatever state it is in."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cluster import proc
from cluster.daemons import SYSTEM_PATH, end_process
from cluster.errors import ClusterError
from cluster.mounts import MOUNTINFO, mounts_under, unmount
from cluster.node import leftovers
from cluster.node.layout import CGROUP, SOCKETS, images_folder
from cluster.node.leftovers import Leftovers

SETTINGS = {
    # Pods reach each other through Services only if what crosses the bridge is shown to nftables.
    "bridge-nf-call-iptables": Path("/proc/sys/net/bridge/bridge-nf-call-iptables"),
    "ip_forward": Path("/proc/sys/net/ipv4/ip_forward"),
}
"""Kernel settings that the node needs at 1."""

KILL_SECONDS = 10.0
ROUNDS = 5


def find(state: Path) -> Leftovers:
    """Everything of a node with this state folder that is on the machine now."""
    return Leftovers(
        processes=leftovers.owned_processes(proc.processes(), state),
        mounts=mounts_under(MOUNTINFO.read_text(), (state, SOCKETS, images_folder(state))),
        links=leftovers.node_links(_listed("ip", "-json", "link", "show") or "[]"),
        tables=leftovers.node_tables(_listed("nft", "list", "tables")),
        cgroups=tuple(_cgroups()),
    )


def clear(state: Path) -> None:
    """Takes everything of the node away, running or left behind, its state folder included.

    Only the images stay, which are files in a folder of their own.

    Raises:
        ClusterError: something could not be removed; says what.
    """
    for _ in range(ROUNDS):
        found = find(state)
        if not found:
            break
        _clear_once(found)
    else:
        found = find(state)
    if found:
        listed = "\n".join(f"  {line}" for line in found.describe())
        raise ClusterError(f"these of the node could not be removed:\n{listed}")
    restore_settings(state)
    _remove_outside_files(state)
    shutil.rmtree(SOCKETS, ignore_errors=True)
    if state.exists():
        shutil.rmtree(state)


def prepare_settings(state: Path) -> None:
    """Sets what the node needs of the kernel, and writes down what was there before."""
    record = _record(state)
    if not SETTINGS["bridge-nf-call-iptables"].exists():
        subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True)
    for name, path in SETTINGS.items():
        if not path.exists():
            raise ClusterError(
                f"this kernel has no setting {path}; load or build in what brings it "
                f"({'br_netfilter' if 'bridge' in name else 'IPv4'})"
            )
    if not record.exists():
        settings = {name: path.read_text().strip() for name, path in SETTINGS.items()}
        tables = leftovers.listed_tables(_said("nft", "list", "tables"))
        record.write_text(json.dumps({"settings": settings, "tables": tables}))
    for path in SETTINGS.values():
        if path.read_text().strip() != "1":
            path.write_text("1")


def restore_settings(state: Path) -> None:
    """Puts the kernel's settings back as they were."""
    try:
        before = json.loads(_record(state).read_text())
    except FileNotFoundError:
        return
    for name, value in before["settings"].items():
        path = SETTINGS[name]
        if path.exists() and path.read_text().strip() != value:
            path.write_text(value)
    # Where there is an iptables program, the bridge plugin also looks for rules of its older
    # versions, which leaves empty tables.
    known = {(family, name) for family, name in before["tables"]}
    for family, name in leftovers.listed_tables(_said("nft", "list", "tables")):
        if (family, name) not in known and leftovers.is_empty_table(
            _said("nft", "list", "table", family, name)
        ):
            _done("nft", "delete", "table", family, name)


def prepare_cgroups() -> None:
    """Makes the folder of all pods' cgroups in every hierarchy, as the kubelet asks for it."""
    for hierarchy in leftovers.cgroup_hierarchies(MOUNTINFO.read_text()):
        _enable_controllers(hierarchy)
        folder = hierarchy / CGROUP.lstrip("/")
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            # Version 1 starts them empty, and no process may enter such a group.
            inner = folder / name
            if inner.exists() and not inner.read_text().strip():
                with suppress(OSError):
                    inner.write_text((hierarchy / name).read_text())


def _enable_controllers(hierarchy: Path) -> None:
    """Version 2 gives a group only the controllers that are switched on above it."""
    switch = hierarchy / "cgroup.subtree_control"
    if not switch.exists():
        return
    there = (hierarchy / "cgroup.controllers").read_text().split()
    for controller in sorted(set(there) - set(switch.read_text().split())):
        with suppress(OSError):  # Those that take no subtree; the kubelet names what it misses.
            switch.write_text(f"+{controller}")


def _record(state: Path) -> Path:
    return state / "machine-before.json"


def _clear_once(found: Leftovers) -> None:
    for process in found.processes:
        end_process(process.stat.pid, process.stat.started, (signal.SIGKILL, 0.0))
    for process in found.processes:
        end_process(process.stat.pid, process.stat.started, (signal.SIGKILL, KILL_SECONDS))
    for mount in found.mounts:
        unmount(mount)
    for link in found.links:
        _done("ip", "link", "delete", link)
    for family, name in found.tables:
        _done("nft", "delete", "table", family, name)
    _remove_cgroups()


def _cgroups() -> Iterator[Path]:
    for hierarchy in leftovers.cgroup_hierarchies(MOUNTINFO.read_text()):
        folder = hierarchy / CGROUP.lstrip("/")
        if folder.exists():
            yield folder


def _remove_cgroups() -> None:
    for top in _cgroups():
        for folder, _, _ in os.walk(top, topdown=False):
            # A group is busy for a moment after its last process has gone.
            deadline = time.monotonic() + 2.0
            while Path(folder).exists() and time.monotonic() < deadline:
                try:
                    Path(folder).rmdir()
                except OSError:
                    time.sleep(0.02)


def _remove_outside_files(state: Path) -> None:
    """What the kubelet and libcni keep at fixed places."""
    plugins = Path("/var/lib/kubelet/device-plugins")
    for name in ("kubelet.sock", "kubelet_internal_checkpoint"):
        (plugins / name).unlink(missing_ok=True)
    results = Path("/var/lib/cni/results")
    if results.exists():
        for path in results.iterdir():
            if leftovers.is_result_of(path.read_text(errors="replace"), state):
                path.unlink()
    links = Path("/var/log/containers")
    if links.exists():
        for path in links.iterdir():
            if path.is_symlink() and str(path.readlink()).startswith(f"{state}/"):
                path.unlink()
    for folder in (plugins, plugins.parent, results, results.parent, links):
        with suppress(OSError):
            folder.rmdir()  # Only when it is empty: another runtime may keep things there.


def _listed(*command: str) -> str:
    """What a program says; nothing on a machine that lacks it, where no node can have been."""
    return _said(*command) if shutil.which(command[0], path=SYSTEM_PATH) else ""


def _said(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": SYSTEM_PATH}
    )
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout


def _done(*command: str) -> bool:
    done = subprocess.run(command, capture_output=True, check=False, env={"PATH": SYSTEM_PATH})
    return done.returncode == 0
