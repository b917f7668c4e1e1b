"""A tutorial of `examples/` on the cluster: `make -C examples/NAME cluster`.

Its versions are exported and uploaded one after the other, the Model of its `model.yaml` serves them, and its client
asks the Model's Service.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from cluster import chart
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY as ROOT
from cluster.progress import note, step
from demo.site import LocalSite, Site, choose, publish_s3

NAMESPACE: Final = "tutorials"
BUCKET: Final = "models"
SECRET: Final = "models-s3"
READY_SECONDS: Final = 600


@dataclass(frozen=True)
class Tutorial:
    """Command lines, of modules of `examples/`; `{exports}`, `{grpc}` and `{rest}` are filled in.

    Attributes:
        exports: each writes one version.
        client: asks after each of them.
        before: runs once, before the client.
    """

    exports: tuple[str, ...]
    client: str
    before: str = ""


MNIST = "mnist_session_bundle.mnist_export --training_iteration={} --export_version={} {{exports}}"
TUTORIALS: Final = {
    "mnist_session_bundle": Tutorial(
        ("mnist_session_bundle.mnist_export {exports}",),
        "mnist_session_bundle.mnist_client --server={grpc}",
    ),
    "dynamic_versions": Tutorial(
        (MNIST.format(100, 1), MNIST.format(2000, 2)),
        "mnist_session_bundle.mnist_client --server={grpc} --concurrency=10",
    ),
    "estimator_export": Tutorial(
        ("estimator_export.export {exports}",),
        "estimator_export.client --server={grpc} --model=iris classify regress predict",
    ),
    "segmentation": Tutorial(
        ("segmentation.segmentation_export {exports}",),
        "segmentation.client --server={grpc} --rest={rest} {exports}/shapes.png",
        before="segmentation.shapes {exports}/shapes.png",
    ),
    "keras_rest": Tutorial(
        (
            "keras_rest.keras_export --export=save --epochs=3 {exports}/1",
            "keras_rest.keras_export --epochs=20 {exports}/2",
        ),
        "keras_rest.client --url={rest}/v1/models/MLP",
    ),
}


def run(site: Site, name: str) -> list[str]:
    """Run a tutorial and return what its client printed, version by version; the Model is left behind, to look at."""
    tutorial = TUTORIALS[name]
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "examples" / name / "model.yaml").read_text())
    model = manifest["metadata"]["name"]
    manifest["metadata"]["namespace"] = NAMESPACE
    _delete(site, model)
    said = []
    with tempfile.TemporaryDirectory(prefix="slipway-tutorial-") as exports:
        if tutorial.before:
            _python(tutorial.before, exports=exports)
        for export in tutorial.exports:
            with step(f"python -m {export.format(exports=exports)}"):
                _python(export, exports=exports)
            version = _newest(Path(exports))
            _upload(site, Path(exports) / version, f"{model}/{version}")
            note(f"  kubectl apply -f examples/{name}/model.yaml")
            site.kubectl.apply(manifest)
            with step(f"wait for version {int(version)}"):
                _wait_serving(site, model, int(version))
            grpc, rest = site.addresses(NAMESPACE, model)
            said.append(_python(tutorial.client, exports=exports, grpc=grpc, rest=rest))
            note(said[-1])
    return said


def prepare(site: Site) -> None:
    """Make the namespace, and what a Model needs to read the bucket."""
    site.s3.create_bucket(BUCKET)
    metadata = {"namespace": NAMESPACE}
    operator = {
        "kind": "ServiceAccount",
        "name": "slipway-operator",
        "namespace": "slipway-system",
    }
    credentials = {
        "AWS_ACCESS_KEY_ID": site.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": site.s3.secret_key,
    }
    rbac = "rbac.authorization.k8s.io"
    site.kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata | {"name": SECRET},
            "stringData": credentials,
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata | {"name": "slipway-credentials"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "slipway-credentials"},
            "subjects": [operator],
        },
    )


def _delete(site: Site, model: str) -> None:
    """Start from nothing, also in a second run."""
    site.kubectl.run(
        "delete", "model", model, f"--namespace={NAMESPACE}", "--ignore-not-found", "--wait",
        timeout=READY_SECONDS,
    )  # fmt: skip
    store = site.s3.client()
    for item in store.list_objects(BUCKET, f"{model}/", recursive=True):
        store.remove_object(BUCKET, str(item.object_name))


def _python(line: str, **places: str) -> str:
    """Run a module with this Python and return what it printed.

    Raises:
        ClusterError: it failed; the sentence ends with what it said.
    """
    words = [word.format(**places) for word in line.split()]
    path = {"PYTHONPATH": str(ROOT / "examples"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env={**os.environ, **path},
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"python -m {' '.join(words)} failed: {done.stderr[-1000:].strip()}")
    return done.stdout.strip()


def _newest(exports: Path) -> str:
    return max((path.name for path in exports.iterdir() if path.name.isdigit()), key=int)


def _upload(site: Site, version: Path, prefix: str) -> None:
    store = site.s3.client()
    for path in sorted(version.rglob("*")):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(version).as_posix()}"
            store.fput_object(BUCKET, key, str(path))
    note(f"  uploaded to s3://{BUCKET}/{prefix}/")


def _wait_serving(site: Site, model: str, version: int) -> None:
    for what in (
        f"jsonpath={{.status.serving}}={version}",
        "jsonpath={.status.phase}=Available",
        "condition=Ready",
    ):
        site.kubectl.run(
            "wait", f"--for={what}", f"model/{model}", f"--timeout={READY_SECONDS}s",
            f"--namespace={NAMESPACE}", timeout=READY_SECONDS + 10,
        )  # fmt: skip


def main() -> int:
    """Run one on the cluster that `make demo` would use."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=tuple(TUTORIALS))
    name = parser.parse_args().name
    try:
        with step("start the cluster and the S3 server"):
            site = choose()
        try:
            if isinstance(site, LocalSite):
                with step("build the images and load them into the cluster"):
                    site.build_images()
            publish_s3(site)
            with step("install Slipway with helm"):
                chart.install(site.kubeconfig, site.image_prefix, site.image_tag)
            prepare(site)
            run(site, name)
            note(site.kubectl.run("get", "models", f"--namespace={NAMESPACE}").rstrip())
        finally:
            site.close()
    except ClusterError as error:
        note(f"\nThe tutorial stopped: {error}")
        return 1
    note("\nTo stop the cluster and leave nothing behind: make cluster-down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
