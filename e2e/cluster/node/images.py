"""Images in the node's containerd, and the one image that every pod needs."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

from cluster.errors import ClusterError
from cluster.images.recipe import references
from cluster.node.layout import PAUSE_IMAGE

KUBERNETES = "k8s.io"
"""The containerd namespace that the kubelet's images are in."""


ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""The kernel's names to Go's."""


def archive(program: bytes, name: str, architecture: str, path: str = "/pause") -> bytes:
    """An image of one static program, as a Docker archive. The same program gives the same bytes.

    Args:
        program: what the image holds, run as nobody.
        name: of the image, with its tag.
        architecture: as Go names it.
        path: of the program in the image.
    """
    layer = _tar({path.lstrip("/"): (program, 0o755)})
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": [path], "User": "65535:65535"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "layer.tar": (layer, 0o644),
            "config.json": (config, 0o644),
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
        }
    )


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _is_alias(name: str) -> bool:
    """The kubelet's side of containerd gives each image a second name, by its configuration."""
    return name.startswith("sha256:")


class Containerd:
    """ctr with the node's socket."""

    def __init__(self, socket: Path, ctr: Path) -> None:
        self._command = [str(ctr), f"--address={socket}", f"--namespace={KUBERNETES}"]

    def answers(self) -> bool:
        return self._run("version", timeout=5.0).returncode == 0

    def images(self) -> tuple[str, ...]:
        """The names of all images."""
        return tuple(self._checked("images", "ls", "-q").split())

    def tasks(self) -> tuple[str, ...]:
        """The containers that run."""
        return tuple(self._checked("tasks", "ls", "-q").split())

    def import_archive(self, path: Path) -> None:
        """Imports an archive of images (Docker's or OCI's) under the names that it holds."""
        self._checked("images", "import", "--local", "--no-unpack=false", str(path))

    def digests(self) -> dict[str, str]:
        """Image name to manifest digest."""
        lines = self._checked("images", "ls").splitlines()[1:]
        return {words[0]: words[2] for words in (line.split() for line in lines)}

    def import_layout(self, layout: Path) -> tuple[str, ...]:
        """Imports the images of an OCI layout that are not here yet, or not as they are there.

        Blobs that containerd has already are not sent again: a changed image of a gigabyte takes
        a moment when all but its last layer is the same.

        Returns:
            The names of those imported.
        """
        here = self.digests()
        wanted = references((layout / "index.json").read_bytes())
        changed = tuple(name for name, digest in wanted.items() if here.get(name) != digest)
        if changed:
            self._import_stream(layout, frozenset(self._checked("content", "ls", "-q").split()))
        return changed

    def _import_stream(self, layout: Path, present: frozenset[str]) -> None:
        command = [*self._command, "images", "import", "--local", "-"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            if process.stdin is None or process.stderr is None:
                raise AssertionError("Popen gives the pipes that it was asked for")
            try:
                with tarfile.open(fileobj=process.stdin, mode="w|", bufsize=1 << 20) as tar:
                    for name in ("oci-layout", "index.json"):
                        tar.add(layout / name, name)
                    for blob in sorted((layout / "blobs" / "sha256").iterdir()):
                        if f"sha256:{blob.name}" not in present:
                            tar.add(blob, f"blobs/sha256/{blob.name}")
                process.stdin.close()
            except BrokenPipeError:
                pass  # ctr ended early; what it said follows.
            said = process.stderr.read().decode(errors="replace")
        if process.returncode != 0:
            raise ClusterError(f"importing {layout} into containerd failed: {said.strip()}")

    def forget_pods(self) -> bool:
        """Removes what is written down of an earlier node's pods, none of which runs any more.

        Returns:
            Whether there was any: containerd must then start again, for it has read it already.
        """
        containers = self._checked("containers", "ls", "-q").split()
        if containers:
            self._checked("containers", "rm", *containers)
        sandboxes = [line.split()[0] for line in self._checked("sandboxes", "ls").splitlines()[1:]]
        if sandboxes:
            self._checked("sandboxes", "rm", "--force", *sandboxes)
        return bool(containers or sandboxes)

    def drop_replaced_images(self) -> None:
        """Removes images that lost their name to a newer one, with their gigabytes.

        Only when no pod runs: the kubelet may have named an image by its digest alone.
        """
        digests = self.digests()
        named = {digest for name, digest in digests.items() if not _is_alias(name)}
        stale = [n for n, digest in digests.items() if _is_alias(n) and digest not in named]
        if stale:
            self._checked("images", "rm", *stale)

    def import_pause(self, program: Path, scratch: Path) -> None:
        """Makes the image that holds a pod's namespaces open, unless it is there."""
        if PAUSE_IMAGE in self.images():
            return
        path = scratch / "pause.tar"
        machine = platform.machine()
        architecture = ARCHITECTURES.get(machine, machine)
        path.write_bytes(archive(program.read_bytes(), PAUSE_IMAGE, architecture))
        self.import_archive(path)
        path.unlink()

    def _checked(self, *arguments: str) -> str:
        done = self._run(*arguments, timeout=600.0)
        if done.returncode != 0:
            raise ClusterError(f"`ctr {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout

    def _run(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        command = [*self._command, *arguments]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"no answer in {timeout:.0f} s")
