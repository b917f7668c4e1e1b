"""Building the images with buildah, without a container engine or a registry.

buildah's own storage, with the base and every layer, is in the cache and shared between checkouts.
The finished images lie in the repository's private folder as one OCI layout of uncompressed
layers: a layer that did not change is neither written nor read again.
"""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cluster import debian, paths
from cluster.errors import ClusterError, quoted_tail
from cluster.images import recipe
from cluster.images.recipe import BASE, IMAGES, Image
from cluster.mounts import MOUNTINFO, mounts_under, unmount
from cluster.progress import note, step

LAYOUT = paths.REPOSITORY / ".local" / "images"
MIRROR = "SLIPWAY_DEBIAN_MIRROR"
DEFAULT_MIRROR = "http://deb.debian.org/debian"

RUN_ROOT = Path("/run/slipway-buildah")
CERTIFICATES = (
    Path("/etc/ssl/certs"),
    Path("/usr/share/ca-certificates"),
    Path("/usr/local/share/ca-certificates"),
)
PIP_FILES = (
    Path("/etc/pip.conf"),
    Path.home() / ".pip" / "pip.conf",
    Path.home() / ".config" / "pip" / "pip.conf",
)


def build_layout(images: Sequence[Image] = IMAGES) -> Path:
    """Builds the images whose inputs changed.

    Returns:
        The OCI layout that holds all of them, each under its reference.

    Raises:
        ClusterError: with the end of the build's output.
    """
    debian.ensure(("buildah", "skopeo", "debootstrap"))
    LAYOUT.mkdir(parents=True, exist_ok=True)
    with _storage() as storage:
        built = _read_keys()
        for image in images:
            key = _key(image)
            if _is_built(image, key):
                note(f"  {image.reference} is up to date")
                continue
            storage.ensure_base()
            with step(f"build {image.reference}"):
                storage.build(image)
            with step(f"export {image.reference}"):
                storage.export(image.reference)
            built[image.reference] = key
            _keys_file().write_text(json.dumps(built, indent=2))
        _prune()
    return LAYOUT


def outdated(images: Sequence[Image] = IMAGES) -> tuple[Image, ...]:
    """Those of the images that are not built yet, or were built from other inputs."""
    return tuple(image for image in images if not _is_built(image, _key(image)))


class _Storage:
    """buildah's and skopeo's view of the images in the cache."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def ensure_base(self) -> None:
        """Makes the base image, unless it is there and of the packages wanted."""
        label = "slipway.base"
        done = self._buildah(
            *(
                "inspect",
                "--type=image",
                "--format",
                f'{{{{index .OCIv1.Config.Labels "{label}"}}}}',
            ),
            BASE,
            check=False,
        )
        if done == recipe.base_key():
            return
        with step(f"make {BASE}"):
            container = self._buildah("from", "scratch")
            try:
                folder = Path(self._buildah("mount", container))
                self._fill_base(folder)
                self._buildah("umount", container)
                self._buildah("config", f"--label={label}={recipe.base_key()}", container)
                self._buildah("commit", "--quiet", container, BASE)
            finally:
                self._buildah("rm", container)

    def build(self, image: Image) -> None:
        settings = recipe.pip_settings(
            [path.read_text() for path in _pip_files() if path.exists()], os.environ
        )
        configuration = RUN_ROOT / "pip.conf"
        configuration.write_text(recipe.pip_configuration(settings))
        trusted = (*CERTIFICATES, *map(Path, recipe.pip_paths(settings)))
        volumes = {
            configuration: Path("/etc/pip.conf"),
            **{path: path for path in trusted if path.exists()},
        }
        self._run(
            *self._command("build"),
            *("--isolation=chroot", "--network=host", "--layers", "--pull=never", "--format=oci"),
            *(f"--volume={host}:{inside}:ro" for host, inside in volumes.items()),
            f"--build-arg=BASE={BASE}",
            f"--file={image.containerfile}",
            f"--ignorefile={paths.REPOSITORY / '.containerignore'}",
            f"--tag={image.reference}",
            ".",
            log=paths.LOGS / f"build-{image.name}.log",
        )

    def export(self, reference: str) -> None:
        """Copies the image into the layout; layers that are there are not read again."""
        store = f"containers-storage:[overlay@{self._root}+{RUN_ROOT}]{reference}"
        self._run(
            *("skopeo", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers"),
            *(store, f"oci:{LAYOUT}:{reference}"),
            log=paths.LOGS / "export.log",
        )

    def close(self) -> None:
        """Leaves no mount: the storage library keeps a folder of its own mounted over itself."""
        for mount in mounts_under(MOUNTINFO.read_text(), (self._root,)):
            unmount(mount)
        shutil.rmtree(RUN_ROOT, ignore_errors=True)

    def _fill_base(self, folder: Path) -> None:
        self._run(
            *("debootstrap", "--variant=minbase", f"--include={','.join(recipe.BASE_PACKAGES)}"),
            *(recipe.SUITE, str(folder), os.environ.get(MIRROR, DEFAULT_MIRROR)),
            log=paths.LOGS / "build-base.log",
        )
        for pattern in recipe.UNNEEDED:
            for path in folder.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        for name in ("hostname", "resolv.conf"):  # debootstrap copies this machine's.
            (folder / "etc" / name).write_text("")

    def _command(self, verb: str) -> tuple[str, ...]:
        return (
            *("buildah", f"--root={self._root}", f"--runroot={RUN_ROOT}"),
            *("--storage-driver=overlay", verb),
        )

    def _buildah(self, verb: str, *arguments: str, check: bool = True) -> str:
        command = [*self._command(verb), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise ClusterError(f"`buildah {verb}` failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _run(self, *command: str, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            code = subprocess.run(
                command,
                cwd=paths.REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if code != 0:
            raise ClusterError(f"`{command[0]}` failed ({code})\n{quoted_tail(log)}")


@contextmanager
def _storage() -> Iterator[_Storage]:
    """The storage, for this process alone."""
    root = paths.cache() / "buildah"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("  waiting for another process that builds images …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        RUN_ROOT.mkdir(parents=True, exist_ok=True, mode=0o700)
        storage = _Storage(root / "root")
        try:
            yield storage
        finally:
            storage.close()


def _key(image: Image) -> str:
    containerfile = (paths.REPOSITORY / image.containerfile).read_text()
    ignored = (paths.REPOSITORY / ".containerignore").read_text().split()
    files: list[tuple[str, bytes]] = []
    for source in recipe.copied_paths(containerfile):
        top = paths.REPOSITORY / source
        if not top.exists():
            raise ClusterError(f"{image.containerfile} copies {source}, which is not there")
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            relative = PurePosixPath(path.relative_to(paths.REPOSITORY))
            if path.is_file() and not recipe.is_ignored(relative, ignored):
                files.append((str(relative), path.read_bytes()))
    return recipe.image_key(containerfile, files)


def _is_built(image: Image, key: str) -> bool:
    return _read_keys().get(image.reference) == key and image.reference in _references()


def _pip_files() -> tuple[Path, ...]:
    named = os.environ.get("PIP_CONFIG_FILE")
    return (*PIP_FILES, Path(named)) if named else PIP_FILES


def _keys_file() -> Path:
    return LAYOUT / "keys.json"


def _read_keys() -> dict[str, str]:
    try:
        keys: dict[str, str] = json.loads(_keys_file().read_text())
    except FileNotFoundError:
        return {}
    return keys


def _references() -> Mapping[str, str]:
    try:
        return recipe.references((LAYOUT / "index.json").read_bytes())
    except FileNotFoundError:
        return {}


def _prune() -> None:
    """Removes what is left of images that were built over."""
    folder = LAYOUT / "blobs" / "sha256"
    index = recipe.without_untagged((LAYOUT / "index.json").read_bytes())
    draft = LAYOUT / "index.json.new"
    draft.write_bytes(index)
    draft.replace(LAYOUT / "index.json")
    manifests = {
        digest: (folder / digest.removeprefix("sha256:")).read_bytes()
        for digest in recipe.references(index).values()
    }
    needed = recipe.referenced_blobs(index, manifests)
    for path in folder.iterdir():
        if f"sha256:{path.name}" not in needed:
            path.unlink()
