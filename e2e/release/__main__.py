"""`make release TAG=v0.1.0`: packages, chart, CRD, bills of materials and checksums, from the commit of a tag.

The same commit gives the same bytes. Nothing is uploaded: what to run for that is printed.
"""

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cluster import images, tools
from cluster.errors import ClusterError
from cluster.progress import note, step
from release import sbom, versions

LOCKS: Final = {
    "slipway-operator": "operator",
    "slipway-sync": "sync",
    "slipway-server": "server",
    "slipway-server-cuda": "server-cuda",
}
"""Image → the lock that its Python packages are installed from."""
CRATES: Final = "server/native/crates.lock"
MODEL_CRD: Final = "crds/models.slipway.dev.yaml"


class ReleaseError(Exception):
    """The release cannot be made; the message says why, and what to do."""


def main() -> int:
    """Make the release in the current folder, a checkout of the project."""
    parser = argparse.ArgumentParser(
        prog="make release", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--tag", default="", help="such as v0.1.0; the checkout has to be at it")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for the results")
    parser.add_argument("--images", action="store_true", help="archives of the images as well")
    asked = parser.parse_args()
    try:
        release(Path.cwd(), asked.tag, asked.out.absolute(), with_images=asked.images)
    except (ReleaseError, ClusterError) as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    return 0


def release(root: Path, tag: str, out: Path, *, with_images: bool) -> None:
    """Write all files of a release into a folder, which is emptied first.

    Raises:
        ReleaseError: the checkout is not what the tag names, or its parts disagree about the version.
        ClusterError: a program failed, with what it said.
    """
    version = _checked(root, tag)
    made = datetime.fromtimestamp(int(_git(root, "log", "-1", "--format=%ct")), UTC)
    with step("packages"):
        _run(root, "make", "--no-print-directory", "dist", f"DIST={out}")
    with step("chart"):
        _chart(root, out, version, made)
    with step("bills of materials"):
        for image, lock in LOCKS.items():
            components = sbom.python_packages((root / f"requirements/{lock}.lock").read_text())
            if lock.startswith("server"):
                components += sbom.crates((root / CRATES).read_text())
            path = out / f"{image}-{version}.cdx.json"
            path.write_text(sbom.bill(image, version, made, components))
    shutil.copyfile(root / MODEL_CRD, out / Path(MODEL_CRD).name)
    if with_images:
        _images(out, version)
    sums = {path.name: _sha256(path) for path in sorted(out.iterdir())}
    (out / "SHA256SUMS").write_text("".join(f"{sums[name]}  {name}\n" for name in sums))
    note(_next_steps(out, version, with_images=with_images))


def _checked(root: Path, tag: str) -> str:
    version = versions.version_of(tag)
    if version is None:
        raise ReleaseError(f"`{tag}` is no tag of a release; give one such as TAG=v0.1.0")
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
    if not commit:
        raise ReleaseError(f"there is no tag {tag}; make it: git tag --annotate {tag}")
    if commit != _git(root, "rev-parse", "HEAD"):
        raise ReleaseError(f"HEAD is not at {tag}: git checkout {tag}")
    if changed := _git(root, "status", "--porcelain"):
        raise ReleaseError(f"there are changes that are not committed:\n{changed}")
    files = {path: (root / path).read_text() for path in versions.FILES}
    if wrong := versions.disagreements(files, version):
        raise ReleaseError("\n".join(wrong))
    return version


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", root, *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _run(root: Path, *command: str) -> None:
    done = subprocess.run(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"`{' '.join(command[:3])}` failed:\n{done.stdout.strip()}")


def _chart(root: Path, out: Path, version: str, made: datetime) -> None:
    with tempfile.TemporaryDirectory(prefix="slipway-release-") as scratch:
        helm = str(tools.find("helm"))
        _run(root, helm, "package", "charts/slipway", f"--destination={scratch}")
        [packed] = Path(scratch).iterdir()
        if packed.name != (expected := f"slipway-{version}.tgz"):
            raise ReleaseError(f"helm wrote {packed.name} where {expected} was expected")
        (out / expected).write_bytes(reproducible(packed.read_bytes(), made))


def reproducible(archive: bytes, made: datetime) -> bytes:
    """Return a gzipped tar archive with the same files, every one of which has this time.

    helm keeps the times at which the files were checked out.
    """
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as source,
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as target,
    ):
        for entry in sorted(source.getmembers(), key=lambda entry: entry.name):
            entry.mtime = int(made.timestamp())
            entry.pax_headers = {}
            target.addfile(entry, source.extractfile(entry))
    return packed.getvalue()


def _images(out: Path, version: str) -> None:
    layout = images.build_layout()
    for image in images.IMAGES:
        archive = out / f"{image.name}-{version}.oci.tar"
        with step(f"{archive.name}"):
            _run(
                out,
                *("skopeo", "copy", "--quiet", f"oci:{layout}:{image.reference}"),
                f"oci-archive:{archive}:{image.name}:{version}",
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _next_steps(out: Path, version: str, *, with_images: bool) -> str:
    where = os.path.relpath(out)
    lines = [
        f"{where} holds release {version}. To publish it, with REGISTRY such as registry.example.com/slipway:",
        f"  twine upload {where}/*.whl {where}/slipway_*.tar.gz",
        f"  helm push {where}/slipway-{version}.tgz oci://REGISTRY",
    ]
    if with_images:
        lines += [
            f"  skopeo copy oci-archive:{where}/{image.name}-{version}.oci.tar "
            f"docker://REGISTRY/{image.name}:{version}"
            for image in images.IMAGES
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
