"""What images are made from, and when they are made again."""

import configparser
import io
import json
import tarfile
from pathlib import PurePosixPath

import pytest

from cluster.images import recipe
from cluster.node.images import archive
from cluster.paths import REPOSITORY

CONTAINERFILE = """\
ARG BASE=docker.io/library/python:3.11-slim
FROM ${BASE} AS build
ARG LOCK=server
COPY requirements/${LOCK}.lock /tmp/
COPY --chmod=0644 sync operator /src/
FROM ${BASE}
COPY --from=build /wheels /tmp/wheels
"""


def test_inputs_are_what_is_copied_from_the_repository() -> None:
    found = recipe.copied_paths(CONTAINERFILE)
    assert found == ("operator", "requirements/server.lock", "sync")


def test_a_copy_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="write it on one line"):
        recipe.copied_paths('COPY ["a", "b"]\n')
    with pytest.raises(ValueError, match="write it on one line"):
        recipe.copied_paths("COPY a \\\n  b /c\n")


def test_the_projects_own_containerfiles_can_be_read() -> None:
    for image in recipe.IMAGES:
        paths = recipe.copied_paths((REPOSITORY / image.containerfile).read_text())
        assert image.containerfile.split("/")[0] in paths
        assert all((REPOSITORY / path).exists() for path in paths)


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        (".git/config", True),
        ("sync/src/__pycache__/x.pyc", True),
        ("sync/__pycache__", True),
        ("sync/src/git", False),
        ("sync/.git/x", False),
    ],
)
def test_ignored_paths_are_no_inputs(path: str, ignored: bool) -> None:  # noqa: FBT001
    assert recipe.is_ignored(PurePosixPath(path), (".git", "**/__pycache__")) is ignored


def test_an_images_key_follows_its_files_and_its_recipe() -> None:
    files = [("a", b"1"), ("b", b"2")]
    key = recipe.image_key(CONTAINERFILE, files)
    assert key == recipe.image_key(CONTAINERFILE, reversed(files))
    assert key != recipe.image_key(CONTAINERFILE + "USER 1\n", files)
    assert key != recipe.image_key(CONTAINERFILE, [("a", b"1"), ("b", b"3")])
    assert key != recipe.image_key(CONTAINERFILE, [("a", b"1"), ("c", b"2")])


def test_pip_is_told_where_packages_come_from_and_nothing_else() -> None:
    system = "[global]\ncert = /etc/ssl/ca.crt\nindex-url = https://one.example/simple\n"
    user = "[global]\nindex-url = https://two.example/simple\ncache-dir = /home/x\n"
    environment = {
        "PIP_FIND_LINKS": "/opt/wheels https://three.example/links",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_EXTRA_INDEX_URL": "",
        "PATH": "/bin",
    }
    settings = recipe.pip_settings([system, user], environment)
    assert settings == {
        "cert": "/etc/ssl/ca.crt",
        "find-links": "/opt/wheels https://three.example/links",
        "index-url": "https://two.example/simple",
    }
    assert recipe.pip_paths(settings) == ("/etc/ssl/ca.crt", "/opt/wheels")
    parser = configparser.RawConfigParser()
    parser.read_string(recipe.pip_configuration(settings))
    assert dict(parser["global"]) | {"find-links": ""} == settings | {"find-links": ""}
    assert parser["global"]["find-links"].split() == settings["find-links"].split()


def test_percent_signs_in_an_index_url_survive() -> None:
    settings = recipe.pip_settings([], {"PIP_INDEX_URL": "https://u:p%40ss@host.example/simple"})
    assert "p%40ss" in recipe.pip_configuration(settings)


def entry(digest: str, name: str | None) -> dict[str, object]:
    annotations = {"org.opencontainers.image.ref.name": name}
    return {"digest": digest, **({"annotations": annotations} if name else {})}


def test_a_layout_is_pruned_of_what_was_built_over() -> None:
    before = json.dumps({"manifests": [entry("sha256:old", None), entry("sha256:new", "web:dev")]})
    index = recipe.without_untagged(before.encode())
    assert recipe.references(before.encode()) == {"web:dev": "sha256:new"}
    manifest = {"config": {"digest": "sha256:c"}, "layers": [{"digest": "sha256:l"}]}
    needed = recipe.referenced_blobs(index, {"sha256:new": json.dumps(manifest).encode()})
    assert needed == {"sha256:new", "sha256:c", "sha256:l"}


def test_the_pause_image_is_the_same_each_time_and_holds_the_program() -> None:
    data = archive(b"program", "localhost/pause:1", "amd64")
    assert data == archive(b"program", "localhost/pause:1", "amd64")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        manifest = json.load(_file(tar, "manifest.json"))
        assert manifest[0]["RepoTags"] == ["localhost/pause:1"]
        config = json.load(_file(tar, manifest[0]["Config"]))
        assert config["config"]["Entrypoint"] == ["/pause"]
        with tarfile.open(fileobj=_file(tar, manifest[0]["Layers"][0])) as layer:
            assert _file(layer, "pause").read() == b"program"
            assert layer.getmember("pause").mode == 0o755


def _file(tar: tarfile.TarFile, name: str) -> io.BufferedReader:
    file = tar.extractfile(name)
    assert isinstance(file, io.BufferedReader)
    return file
