"""The status page in a real browser, of an operator's process against a real API server."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import Page, browsing
from cluster.controlplane import ControlPlane
from cluster.ports import free_ports
from cluster.s3 import S3Server
from slipway_operator.api.names import GROUP, PLURAL, VERSION
from slipway_operator.api.verbs import Verb
from world import Bucket, Kube, eventually, running_operator, tiny_export

HOSTILE = "<img src=x onerror=document.title='owned'>"
CARD = "document.querySelector('article')?.textContent ?? ''"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browsing(tmp_path) as opened:
        yield opened


@pytest.mark.usefixtures("kubelet")
def test_a_rollout_is_seen_live_and_a_hostile_message_is_text(
    controlplane: ControlPlane, kube: Kube, s3: S3Server, bucket: Bucket,
    tmp_path: Path, page: Page,
) -> None:  # fmt: skip
    namespace = kube.namespace()
    kube.secret(namespace, "s3", s3.access_key, s3.secret_key)
    bucket.upload(f"{namespace}/1", tiny_export(1))
    [port] = free_ports(1)
    flags = (f"--namespace={namespace}", f"--ui-port={port}")
    with running_operator(str(controlplane.kubeconfig), tmp_path / "operator.log", *flags):
        eventually("the page is served", lambda: _opened(page, port))
        page.wait(
            "no Model is shown yet", "document.querySelector('#count').textContent === '0 Models'"
        )
        kube.create_model(namespace, "digits", _spec(namespace, bucket, s3))
        page.wait("version 1 serves", f"({CARD}).includes('Available')")
        bucket.upload(f"{namespace}/2", tiny_export(2))
        page.wait("version 2 serves", "document.querySelector('.serving')?.textContent === '2'")
        page.wait(
            "its transition is in the history",
            "/1 → 2: Completed in/.test(document.querySelector('li').textContent)",
        )

        # The name of a file that a manifest asks for is anybody's text.
        files = tiny_export(3)
        digest = hashlib.sha256(b"").hexdigest()
        # The manifest comes first: without it the version would be complete.
        sums = {"SHA256SUMS": f"{digest}  {HOSTILE}\n".encode()}
        bucket.upload(f"{namespace}/3", {**sums, **files})
        page.wait("the name is shown", f'({CARD}).includes("{HOSTILE}")')
        # So is the field manager of a change, which the history names.
        kube.custom.patch_namespaced_custom_object(
            GROUP, VERSION, namespace, PLURAL, "digits",
            {"metadata": {"annotations": {Verb.ROLLBACK.annotation: "1"}}}, field_manager=HOSTILE,
        )  # fmt: skip
        page.wait("it is in the history", f'({CARD}).includes("Rollback by {HOSTILE}")')
        assert page.ask("document.querySelectorAll('img').length") == 0
        assert page.ask("document.title") == "Slipway: Models"
        assert page.ask("document.querySelector('#connection').textContent") == "Live"
        assert page.said == []

        _policy_holds(page)
        kube.custom.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, "digits")
        page.wait("a deleted Model is gone", "document.querySelector('article') === null")
    page.wait(
        "a page without an operator says so",
        "document.querySelector('#connection').dataset.state === 'lost'",
    )


def _opened(page: Page, port: int) -> bool:
    page.open(f"http://localhost:{port}/ui/")
    return bool(page.ask("document.title") == "Slipway: Models")


def _spec(namespace: str, bucket: Bucket, s3: S3Server) -> dict[str, Any]:
    source = {
        "uri": f"s3://{bucket.name}/{namespace}",
        "endpoint": s3.endpoint,
        "credentialsSecret": "s3",
        "pollInterval": "1s",
        "settle": "0s",
    }
    return {"source": source, "serving": {"replicas": 2}}


def _policy_holds(page: Page) -> None:
    """No script runs that is not the page's own, not even one that has got into it."""
    assert page.ask("document.styleSheets[0].cssRules.length") > 10
    page.ask(
        "window.refused = []; document.addEventListener('securitypolicyviolation',"
        " (event) => window.refused.push(event.effectiveDirective)); 0"
    )
    attempts = (
        f'document.body.insertAdjacentHTML("beforeend", "{HOSTILE}")',
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))",
        "Object.assign(document.createElement('a'), {href: 'javascript:void(document.title = 1)'}).click()",
        "document.createElement('div').setAttribute('style', 'color: red')",
    )
    for attempt in attempts:
        before = page.ask("window.refused.length")
        page.ask(f"try {{ {attempt} }} catch (error) {{ }} 0")
        page.wait(f"it is refused: {attempt}", f"window.refused.length > {before}")
    assert page.ask("document.title") == "Slipway: Models"
    page.ask("fetch('http://127.0.0.1:9/').catch(() => {}); 0")
    page.wait("it sends nothing elsewhere", "window.refused.includes('connect-src')")
