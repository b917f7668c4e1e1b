"""What the spec says reaches a container as it stands there: the kubelet finds nothing to expand."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubelet_expansion import expand
from slipway_operator.api.resource import ModelResource, parse
from slipway_operator.api.serving import EnvVar
from slipway_operator.model.pvc import Sharing
from slipway_operator.model.servable import Servable
from slipway_operator.model.source import CloudIdentity
from slipway_operator.rendering.deployment import deployment
from slipway_operator.rendering.settings import RenderSettings
from slipway_operator.rendering.volume_watcher import watcher

MARK = "MARK"
PLAIN = {"source": {"uri": "s3://models/digits"}, "serving": {"serviceAccount": "models"}}
Container = dict[str, Any]


def model(text: str, uri: str, identity: str) -> ModelResource:
    """A Model whose every string is the text; no rule is asked whether it may."""
    parsed = parse({"metadata": {"name": "digits", "namespace": "ml", "uid": "u1"}, "spec": PLAIN})
    source = parsed.spec.source.model_copy(
        update={
            "uri": f"{uri}/a{text}z",
            "endpoint": f"https://a{text}z",
            "region": f"a{text}z",
            "completion_marker": f"a{text}z",
            "proxy": f"http://a{text}z",
            "identity": identity,
        }
    )
    serving = parsed.spec.serving.model_copy(
        update={
            "env": [
                EnvVar.model_construct(name="A", value=f"a{text}z"),
                EnvVar.model_construct(name="B", value="b"),
            ],
            "tags": [f"a{text}z"],
        }
    )
    changed = {"source": source, "serving": serving, "model_name": f"a{text}z"}
    spec = parsed.spec.model_copy(update=changed)
    return ModelResource("ml", "digits", "u1", 1, "1", spec, parsed.status)


def containers(text: str, uri: str) -> Iterator[Container]:
    """Every container that is made for a Model."""
    settings = RenderSettings(
        "server:1", "sync:1", proxy=f"http://a{text}z", no_proxy=(f"a{text}z",),
        allowed_networks=(f"a{text}z",),
    )  # fmt: skip
    made = Servable(3, f"a{text}z", f"a{text}z", "0" * 8)
    cloud = CloudIdentity("models", f"a{text}z", ((f"a{text}z", f"a{text}z"),))
    for identity in ("", "ServiceAccount"):
        found = model(text, uri, identity)
        account = cloud if identity else None
        pods = [deployment(found, made, 1, settings, account)]
        if (listed := watcher(found, settings, Sharing.ANYWHERE)) is not None:
            pods.append(listed)
        for pod in pods:
            spec = pod["spec"]["template"]["spec"]
            yield from spec.get("initContainers", ())
            yield from spec["containers"]


def strings(container: Container) -> list[str]:
    """Everything that the kubelet expands."""
    return [
        *container.get("command", ()),
        *container["args"],
        *(entry["value"] for entry in container.get("env", ())),
    ]


@pytest.mark.parametrize("uri", ["s3://models", "pvc://exports"])
@example("$(B)")
@example("$$(B)")
@example("$")
@example("pa$$word")
@example("$é")
@example("$(")
@given(st.one_of(st.text("$()ABé /", max_size=12), st.text(max_size=12)))
def test_every_string_arrives_as_it_stands_in_the_model(uri: str, text: str) -> None:
    plain = list(containers(MARK, uri))
    written = list(containers(text, uri))
    assert len(plain) == len(written) == (4 if uri.startswith("s3") else 6)
    for before, after in zip(plain, written, strict=True):
        wanted = [string.replace(MARK, text) for string in strings(before)]
        arrived = [expand(string, {"A": "expanded", "B": "expanded"}) for string in strings(after)]
        assert arrived == wanted


def test_the_model_of_the_kubelet_expands_as_the_kubelet_does() -> None:
    """Cases of Kubernetes' own TestMapReference and its neighbours."""
    variables = {"VAR_A": "A", "VAR_B": "B", "VAR_REF": "$(VAR_A)", "VAR_EMPTY": ""}
    for text, wanted in (
        ("$(VAR_A)", "A"),
        ("___$(VAR_B)___", "___B___"),
        ("$(VAR_A)$(VAR_EMPTY)$(VAR_B)", "AB"),
        ("f000-$VAR_A", "f000-$VAR_A"),
        ("foo\\$(VAR_A)", "foo\\A"),
        ("$(VAR_REF)", "$(VAR_A)"),
        ("$(NONE)", "$(NONE)"),
        ("foo$(VAR_A", "foo$(VAR_A"),
        ("$$$(VAR_A)", "$A"),
        ("$$$$$(BAR)", "$$$(BAR)"),
        ("foo$", "foo$"),
        ("$(VAR_A)$$(VAR_A)", "A$(VAR_A)"),
    ):
        assert expand(text, variables) == wanted, text
