"""Programs that come from Debian packages."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster import paths
from cluster.errors import ClusterError
from cluster.progress import step

PROGRAMS: Mapping[str, str] = {
    "runc": "runc",
    "buildah": "buildah",
    "nft": "nftables",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "skopeo": "skopeo",
    "faketime": "faketime",
}
"""Program to package."""

ADMINISTRATOR_PATH = os.defpath + ":/usr/local/sbin:/usr/sbin:/sbin"


def missing(programs: Iterable[str]) -> tuple[str, ...]:
    """The packages to install, sorted."""
    return tuple(
        sorted(
            {
                PROGRAMS[program]
                for program in programs
                if shutil.which(program, path=ADMINISTRATOR_PATH) is None
            }
        )
    )


def ensure(programs: Iterable[str]) -> None:
    """Installs the packages of the programs that are not there.

    Raises:
        ClusterError: apt-get failed; with the end of what it said.
    """
    packages = missing(programs)
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"these packages are needed and this is no Debian: {', '.join(packages)}; install what "
            "your system calls them"
        )
    with step(f"install {', '.join(packages)}"):
        _apt_get("update", "-q")
        _apt_get("install", "-q", "-y", "--no-install-recommends", *packages)


def unpacked(package: str, *, with_needs: bool = False) -> Path:
    """The files of a package, in the cache and not installed: none of its services starts.

    Args:
        with_needs: Those of the packages that it needs and that this system lacks as well.

    Raises:
        ClusterError: apt-get failed; with the end of what it said.
    """
    files = paths.cache() / "debian" / (f"{package}-with-needs" if with_needs else package)
    if not files.exists():
        files.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=files.parent) as work, step(f"unpack {package}"):
            _apt_get("update", "-q")
            packages = _needs(package) if with_needs else [package]
            _apt_get("download", "-q", *packages, folder=work)
            for archive in Path(work).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", archive, f"{work}/files"], check=True)
            # Another process may have been faster.
            with contextlib.suppress(OSError):
                Path(f"{work}/files").rename(files)
    return files


def _needs(package: str) -> list[str]:
    """The package, and what would be installed with it."""
    said = _apt_get("install", "--simulate", "--no-install-recommends", "--reinstall", package)
    return sorted(set(re.findall(r"^Inst (\S+)", said, flags=re.MULTILINE)) | {package})


def _apt_get(*arguments: str, folder: str | None = None) -> str:
    done = subprocess.run(
        ["apt-get", *arguments],
        cwd=folder,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join(f"  | {line}" for line in done.stdout.splitlines()[-15:])
        raise ClusterError(f"apt-get {' '.join(arguments)} failed ({done.returncode}):\n{said}")
    return done.stdout
