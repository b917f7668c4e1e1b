"""The operator and the pods' sync on the way to a source: one server, one authority, one proxy."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority, server_context
from cluster.controlplane import ControlPlane
from handsync import sync_by_hand
from proxies import BEHIND, HttpProxy
from small_exports import contents, tree
from static_server import StaticServer, indexed
from world import Kube, eventually, running_operator

NAME, WORD = "ada", "the-password-itself"
TOKEN = "the-token-itself"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def server(authority: Authority, tmp_path: Path) -> Iterator[StaticServer]:
    tls = server_context(authority.issue(names=[BEHIND]), tmp_path)
    files = indexed({f"3/{name}": data for name, data in contents().items()})
    with StaticServer(files, tls=tls, authorization=f"Bearer {TOKEN}") as it:
        yield it


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[HttpProxy]:
    with HttpProxy.start(tmp_path / "proxy", f"{NAME}:{WORD}") as it:
        yield it


@pytest.mark.parametrize("whose", ["installation", "model"])
def test_a_model_behind_tls_a_proxy_and_a_token(
    server: StaticServer,
    proxy: HttpProxy,
    authority: Authority,
    controlplane: ControlPlane,
    kube: Kube,
    tmp_path: Path,
    whose: str,
) -> None:
    namespace = kube.namespace()
    source: dict[str, Any] = {
        "uri": f"https://{BEHIND}:{server.port}/m",
        "credentialsSecret": "keys",
        "caBundle": {"configMap": "corp-ca"},
        "pollInterval": "1s",
        "settle": "0s",
    }
    # The Model's own proxy comes before the installation's, which leads nowhere here.
    flags = [f"--namespace={namespace}", "--no-proxy=.svc"]
    if whose == "installation":
        flags.append(f"--proxy={proxy.url}")
    else:
        source["proxy"] = proxy.url
        flags.append("--proxy=http://no-such-proxy.invalid:3128")
    keys = {"HTTP_BEARER_TOKEN": TOKEN, "PROXY_USERNAME": NAME, "PROXY_PASSWORD": WORD}
    config = str(controlplane.kubeconfig)
    with running_operator(config, tmp_path / "operator.log", *flags):
        kube.create_model(namespace, "m", {"source": source})

        def says(words: str) -> None:
            eventually(
                words,
                lambda: words in str(kube.status(namespace, "m").get("conditions")),
                state=lambda: kube.describe(namespace),
            )

        says("does not exist")
        put(kube, namespace, authority.pem, keys | {"PROXY_PASSWORD": "guessed"})
        says("the proxy requires credentials: put PROXY_USERNAME and PROXY_PASSWORD")
        kube.core.patch_namespaced_secret("keys", namespace, {"stringData": keys})

        def deployments() -> list[Any]:
            found: list[Any] = kube.apps.list_namespaced_deployment(namespace).items
            return found

        [deployment] = eventually(
            "pods are asked for", deployments, state=lambda: kube.describe(namespace)
        )
        conditions = str(kube.status(namespace, "m"))
    last = sync_by_hand(kube, namespace, deployment.metadata.name, tmp_path / "pod")
    assert last["event"] == "synced"
    assert tree(tmp_path / "pod" / "models" / "m" / "3") == contents()
    assert f"CONNECT {BEHIND}:{server.port}" in proxy.asked()
    told = (
        conditions
        + (tmp_path / "operator.log").read_text()
        + str(kube.api.sanitize_for_serialization(deployment))
        + str(kube.core.list_namespaced_event(namespace))
    )
    assert [word for word in (TOKEN, WORD, "guessed") if word in told] == []
    kube.core.delete_namespace(namespace)


def put(kube: Kube, namespace: str, authority: bytes, keys: dict[str, str]) -> None:
    kube.core.create_namespaced_config_map(
        namespace, {"metadata": {"name": "corp-ca"}, "data": {"ca.crt": authority.decode()}}
    )
    kube.core.create_namespaced_secret(
        namespace, {"metadata": {"name": "keys"}, "stringData": keys}
    )


def test_a_model_made_again_under_its_name_waits_for_no_store_of_the_deleted_one(
    controlplane: ControlPlane, kube: Kube, tmp_path: Path
) -> None:
    namespace = kube.namespace()
    hangs, answers, answered = (threading.Event() for _ in range(3))

    def before(path: str) -> None:
        if path.startswith("old/"):
            hangs.set()
            answers.wait(60)
            answered.set()

    export = contents()
    files = indexed({f"9/{name}": data for name, data in export.items()}, "old")
    files |= indexed({f"3/{name}": data for name, data in export.items()}, "new")

    def create(base: str, url: str) -> None:
        source = {"uri": f"{url}/{base}", "pollInterval": "1s", "settle": "0s"}
        kube.create_model(namespace, "m", {"source": source})

    def state() -> object:
        return kube.describe(namespace), (tmp_path / "operator.log").read_text()

    def versions() -> list[str]:
        found = kube.apps.list_namespaced_deployment(namespace).items
        return [item.metadata.labels["slipway.dev/version"] for item in found]

    with (
        StaticServer(files, before=before) as server,
        running_operator(
            str(controlplane.kubeconfig),
            tmp_path / "operator.log",
            f"--namespace={namespace}",
        ),
    ):
        create("old", server.url)
        assert hangs.wait(30), state()
        kube.custom.delete_namespaced_custom_object(
            "slipway.dev", "v1alpha1", namespace, "models", "m"
        )
        create("new", server.url)
        # Sooner than the request to the old store could have been given up.
        eventually("the new source is polled", lambda: versions() == ["3"], seconds=8, state=state)
        answers.set()
        assert answered.wait(10)
        eventually(
            "only the new source is polled",
            lambda: all(path.startswith("/new/") for path in server.paths()[-4:]),
            state=state,
        )
        assert versions() == ["3"], state()
        assert "9" not in [row["version"] for row in kube.status(namespace, "m")["versions"]]
    kube.core.delete_namespace(namespace)
