"""The operator and the pods' sync on the way to a source: one server, one authority, one proxy."""

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
