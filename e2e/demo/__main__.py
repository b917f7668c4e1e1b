"""The steps of `make demo`."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster import chart, tools
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY as ROOT
from cluster.progress import note, step
from demo.site import LocalSite, Site, choose, publish_s3

NAMESPACE = "demo"
MODEL = "digits"
BUCKET = "models"
EXAMPLE = ROOT / "examples" / "digits"
READY_SECONDS = 600.0


@dataclass(frozen=True)
class Change:
    """What a change of version was like for its clients."""

    sent: int
    failed: int
    seconds: float
    before: float
    after: float


class Demo:
    """The main job, told as it goes."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._exports = Path(tempfile.mkdtemp(prefix="slipway-demo-"))

    def close(self) -> None:
        shutil.rmtree(self._exports)
        self._site.close()

    def run(self) -> bool:
        """Everything; false when a request failed or a model did not get better."""
        site = self._site
        if isinstance(site, LocalSite):
            with step("build the images and load them into the cluster"):
                site.build_images()
        publish_s3(site)
        site.offer_gpus(3)
        with step("install Slipway with helm"):
            chart.install(site.kubeconfig, site.image_prefix, site.image_tag)
        self._clean_namespace()
        self._train(version=1, steps=100)
        self._upload(1)
        self._create_model()
        with step("wait for version 1: kubectl wait --for=condition=Ready model/digits"):
            self._wait_serving(1)
        note(self._kubectl("get", "models", "--output=wide"))
        self._grpc, self._rest = site.addresses(NAMESPACE, MODEL)
        self._classify()
        good = [self._change(version=2, steps=2000, title="keeping full capacity")]
        note("\nNow with exactly as many GPUs as replicas: no extra pod could ever be scheduled.")
        site.offer_gpus(2)
        patch = '{"spec":{"transition":{"policy":"ResourcePreserving"}}}'
        self._kubectl("patch", "model", MODEL, "--type=merge", f"--patch={patch}")
        good.append(self._change(version=3, steps=6000, title="using no more hardware"))
        self._say_goodbye()
        return all(change.failed == 0 and change.after < change.before for change in good)

    def _kubectl(self, *arguments: str) -> str:
        return self._site.kubectl.run(*arguments, f"--namespace={NAMESPACE}").rstrip()

    def _clean_namespace(self) -> None:
        """Start from nothing, also in a second run."""
        site = self._site
        with step("start with an empty namespace and bucket"):
            site.kubectl.run(
                "delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=READY_SECONDS
            )
            site.s3.create_bucket(BUCKET)
            store = site.s3.client()
            for item in store.list_objects(BUCKET, f"{MODEL}/", recursive=True):
                store.remove_object(BUCKET, str(item.object_name))
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"namespace": NAMESPACE}
        site.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": NAMESPACE, "labels": labels},
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata | {"name": "digits-s3"},
                "stringData": {
                    "AWS_ACCESS_KEY_ID": site.s3.access_key,
                    "AWS_SECRET_ACCESS_KEY": site.s3.secret_key,
                },
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": metadata | {"name": "slipway-credentials"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "slipway-credentials",
                },
                "subjects": [
                    {
                        "kind": "ServiceAccount",
                        "name": "slipway-operator",
                        "namespace": "slipway-system",
                    }
                ],
            },
        )

    def _create_model(self) -> None:
        manifest: dict[str, Any] = yaml.safe_load((EXAMPLE / "model.yaml").read_text())
        if not self._site.has_gpus:
            note("  no node offers nvidia.com/gpu: the pods ask for none")
            del manifest["spec"]["serving"]["resources"]
        note("  kubectl apply -f examples/digits/model.yaml")
        manifest["metadata"]["namespace"] = NAMESPACE
        self._site.kubectl.apply(manifest)

    def _train(self, *, version: int, steps: int) -> None:
        with step(f"train a softmax classifier for {steps} steps, export it as version {version}"):
            subprocess.run(
                [sys.executable, "-m", "digits.train", f"--steps={steps}", f"--version={version}",
                 str(self._exports)],
                check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def _upload(self, version: int) -> None:
        store = self._site.s3.client()
        root = self._exports / str(version)
        for path in sorted(root.rglob("*")):
            if path.is_file():
                key = f"{MODEL}/{version}/{path.relative_to(root).as_posix()}"
                store.fput_object(BUCKET, key, str(path))
        note(f"  uploaded to s3://{BUCKET}/{MODEL}/{version}/")

    def _wait_serving(self, version: int) -> None:
        timeout = f"--timeout={int(READY_SECONDS)}s"
        for what in (
            f"jsonpath={{.status.serving}}={version}",
            "jsonpath={.status.phase}=Available",
        ):
            self._site.kubectl.run(
                "wait", f"--for={what}", f"model/{MODEL}", timeout, f"--namespace={NAMESPACE}",
                timeout=READY_SECONDS + 10,
            )  # fmt: skip
        self._kubectl("wait", "--for=condition=Ready", f"model/{MODEL}", timeout)

    def _classify(self) -> float:
        """The error rate over gRPC, after a look that REST says the same."""
        from digits.classify import error_rate, over_grpc, over_rest
        from digits.train import load

        digits = load()
        rates = [
            error_rate(over_grpc(self._grpc, MODEL), digits),
            error_rate(over_rest(self._rest, MODEL), digits),
        ]
        count = len(digits.test_images)
        note(f"  {count} test images: {rates[0]:.1%} wrong over gRPC, {rates[1]:.1%} over REST")
        return rates[0]

    def _change(self, *, version: int, steps: int, title: str) -> Change:
        from digits.load import Load

        note(f"\nVersion {version}, {title}:")
        self._train(version=version, steps=steps)
        before = self._classify()
        # A port-forward holds on to one pod, so on a given cluster no load goes over gRPC.
        channels = 3 if isinstance(self._site, LocalSite) else 0
        with (
            self._watch(),
            Load(self._grpc, self._rest, MODEL, channels=channels, per_second=25) as load,
        ):
            self._upload(version)
            begun = time.monotonic()
            self._wait_serving(version)
            seconds = time.monotonic() - begun
        if not isinstance(self._site, LocalSite):
            self._grpc, self._rest = self._site.addresses(NAMESPACE, MODEL)
        after = self._classify()
        tally = load.tally
        old = tally.versions.get(version - 1)
        if old:
            seconds = max(0.0, old.last - begun)
        note(
            f"  requests sent {tally.sent}, failed {tally.failed}; error rate {before:.1%} before, "
            f"{after:.1%} after; {seconds:.1f} s from upload to all traffic on version {version}"
        )
        for error in tally.errors[:3]:
            note(f"    {error}")
        return Change(tally.sent, tally.failed, seconds, before, after)

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """Show `kubectl get models -w` meanwhile."""
        command = [
            str(tools.find("kubectl")), f"--kubeconfig={self._site.kubeconfig}",
            f"--namespace={NAMESPACE}", "get", "models", "--watch",
        ]  # fmt: skip
        note("  $ kubectl get models -w")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = process.stdout

            def show() -> None:
                for line in lines:
                    note("  " + line.rstrip())

            thread = threading.Thread(target=show, daemon=True)
            thread.start()
            try:
                yield
            finally:
                process.terminate()
                thread.join(10)

    def _say_goodbye(self) -> None:
        kubectl = f"{tools.find('kubectl')} --kubeconfig={self._site.kubeconfig} -n {NAMESPACE}"
        note(
            f"""
Everything is up. To try:

  kubectl="{kubectl}"
  $kubectl get models -w
  $kubectl describe model digits
  $kubectl scale model digits --replicas=1
  PYTHONPATH=examples .venv/bin/python -m digits.classify --grpc {self._grpc} --rest {self._rest}

To stop it and leave nothing behind: make cluster-down"""
        )


def main() -> int:
    """Run the demo."""
    begun = time.monotonic()
    # TensorFlow would tell of every processor feature in the middle of the story.
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    try:
        with step("start the cluster and the S3 server"):
            site = choose()
        demo = Demo(site)
        try:
            good = demo.run()
        finally:
            demo.close()
    except ClusterError as error:
        note(f"\nThe demo stopped: {error}")
        return 1
    note(f"\n{'Done' if good else 'NOT as promised'}, after {time.monotonic() - begun:.0f} s.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
