"""The quick start: its commands, its manifests, the chart and the pinned S3 server agree."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_operator.api.resource import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guide/quickstart.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = [
    command.replace("\\\n", " ").strip()
    for block in BLOCKS
    for command in re.split(r"(?<!\\)\n", block)
]
CHART = ROOT / "charts/slipway"


def manifests(name: str) -> dict[str, Any]:
    """The objects of a manifest of the example, by kind."""
    found = list(yaml.safe_load_all((ROOT / "examples/quickstart" / name).read_text()))
    by_kind = {one["kind"]: one for one in found}
    assert len(by_kind) == len(found)
    return by_kind


def the(pattern: str) -> re.Match[str]:
    """The one command that matches."""
    (found,) = filter(None, (re.search(pattern, command) for command in COMMANDS))
    return found


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_good_shell(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_every_file_that_a_command_names_is_there() -> None:
    words = [word for command in COMMANDS for word in command.split()]
    named = {word for word in words if re.match(r"(examples|charts)/", word)}
    assert len(named) == 3
    assert [word for word in named if not (ROOT / word).exists()] == []


def test_the_images_are_those_that_the_chart_names_by_itself() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    tag = values["imageTag"] or yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    wanted = {
        f"{values['imagePrefix'].rstrip('/')}/{image['repository']}:{tag}"
        for image in values["image"].values()
    }
    names = the(r"^docker image rm (.*)$").group(1).split()
    assert set(names) == wanted
    for command in (r"docker build .* -t (\S+) \.$", r"docker save .* (\S+)$", r"tar:(local\S+)$"):
        built = the(command).group(1)
        assert {built.replace("$name", name) for name in ("operator", "sync", "server")} == wanted
    assert values["imagePullPolicy"] != "Always"


@pytest.mark.parametrize("tool", ["kind", "minikube", "k3d"])
def test_each_tool_creates_loads_and_deletes_the_same_cluster(tool: str) -> None:
    mine = [command for command in COMMANDS if re.search(rf"(^|; do ){tool} ", command)]
    assert len(mine) == 3
    for command in mine:
        assert re.search(r"(--name|--profile|--cluster|create|delete) slipway(;|$)", command)
    loaded = {name for name in ("operator", "sync", "server") if name in mine[1]}
    assert loaded == {"operator", "sync", "server"}


def test_the_model_is_good_and_read_by_the_operator_that_is_installed() -> None:
    objects = manifests("model.yaml")
    model, secret, binding = objects["Model"], objects["Secret"], objects["RoleBinding"]
    namespace = model["metadata"]["namespace"]
    assert {one["metadata"]["namespace"] for one in objects.values()} == {namespace}
    assert secret["metadata"]["name"] == model["spec"]["source"]["credentialsSecret"]
    release, where, watched = the(
        r"^helm install (\S+) charts/slipway --namespace (\S+) .*namespaces=\{(\S+)\}"
    ).groups()
    assert watched == namespace
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (f"{release}-operator", where)
    model["metadata"]["uid"] = "1"
    parse(model)


def test_the_model_the_server_and_the_upload_mean_the_same_bucket() -> None:
    objects, model = manifests("s3.yaml"), manifests("model.yaml")
    service = objects["Service"]
    metadata, (port,) = service["metadata"], service["spec"]["ports"]
    source = model["Model"]["spec"]["source"]
    assert source["endpoint"] == f"http://{metadata['name']}.{metadata['namespace']}:{port['port']}"
    forward = the(r"^kubectl -n (\S+) port-forward service/(\S+) (\d+) &$").groups()
    assert forward == (metadata["namespace"], metadata["name"], str(port["port"]))
    set_here = dict(
        word.split("=", 1)
        for command in COMMANDS
        if command.startswith("export ")
        for word in shlex.split(command)[1:]
    )
    assert set_here["AWS_ENDPOINT_URL"] == f"http://localhost:{port['port']}"
    keys = model["Secret"]["stringData"]
    assert keys.items() <= set_here.items()
    assert list(keys.values()) == list(objects["Secret"]["stringData"].values())
    uploads = [command for command in COMMANDS if command.startswith("aws s3 cp")]
    assert [upload.split()[-1] for upload in uploads] == [f"{source['uri']}/{v}" for v in (1, 2)]
    assert source["uri"].startswith(f"{the(r'^aws s3 mb (.*)$').group(1)}/")


def test_the_s3_server_is_the_release_that_the_tests_run() -> None:
    pod = manifests("s3.yaml")["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    module = (ROOT / "e2e/cluster/tools/versitygw/go.mod").read_text()
    (version,) = re.findall(r"github.com/versity/versitygw (v\S+)", module)
    assert container["image"].rpartition(":")[2] == version


def test_the_commands_of_the_readme_are_those_of_the_page() -> None:
    readme = (ROOT / "README.md").read_text()
    _, _, part = readme.partition("\n## Three ways in\n")
    block, *_ = re.findall(r"^```sh\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    install, apply, watch = block.splitlines()
    assert install in COMMANDS
    assert watch in COMMANDS
    applied = [command.split()[-1] for command in COMMANDS if command.startswith("kubectl apply")]
    assert apply == "kubectl apply " + " ".join(f"-f {file}" for file in applied)
