"""Programs that come from Debian packages."""

import contextlib
import os
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


def unpacked(package: str) -> Path:
    """The files of a package, in the cache and not installed: none of its services starts.

    Raises:
        ClusterError: apt-get failed; with the end of what it said.
    """
    files = paths.cache() / "debian" / package
    if not files.exists():
        files.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=files.parent) as work, step(f"unpack {package}"):
            _apt_get("update", "-q")
            _apt_get("download", "-q", package, folder=work)
            [archive] = Path(work).glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", archive, f"{work}/files"], check=True)
            # Another process may have been faster.
            with contextlib.suppress(OSError):
                Path(f"{work}/files").rename(files)
    return files


def _apt_get(*arguments: str, folder: str | None = None) -> None:
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
