"""`make release` from a tag: what it refuses, what it makes, and that it makes the same twice."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from cluster import tools
from release import versions

ROOT = Path(__file__).resolve().parents[2]
TAG = "v0.3.0"


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", "-C", root, *who, *arguments], check=True, capture_output=True)


def make_release(root: Path, out: Path, tag: str = TAG) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "release", f"TAG={tag}", f"DIST={out}"],
        cwd=root,
        env=os.environ | {"MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone at a tag whose every part says the same version, set up as this one is."""
    root = tmp_path_factory.mktemp("release") / "slipway"
    subprocess.run(["git", "clone", "--quiet", ROOT, root], check=True)
    for path in versions.FILES:
        text = (root / path).read_text()
        text = text.replace("0.1.0 (unreleased)", "0.3.0 (2026-01-02)").replace("0.1.0", "0.3.0")
        (root / path).write_text(text)
    git(root, "commit", "--quiet", "--all", "--message=Release 0.3.0")
    git(root, "tag", TAG)
    for path in root.rglob("*"):  # Older than what is built from them.
        os.utime(path, (1e9, 1e9))
    for folder in (".venv", ".local/uv"):
        (root / folder).mkdir(parents=True)
        for path in (ROOT / folder).iterdir():
            (root / folder / path.name).symlink_to(path)
    module = Path("server/src/slipway_server/_native.abi3.so")
    shutil.copyfile(ROOT / module, root / module)
    (root / ".local/setup.stamp").touch()
    return root


def test_a_release_is_complete_and_the_same_each_time(checkout: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    for out in (first, again):
        (checkout / "charts/slipway/values.yaml").touch()  # As if it were checked out later.
        (checkout / "server/README.md").touch()
        done = make_release(checkout, out)
        assert done.returncode == 0, done.stdout + done.stderr
    names = {path.name for path in first.iterdir()}
    assert {f"slipway_{name}-0.3.0.tar.gz" for name in versions.DISTRIBUTIONS} < names
    assert {"slipway-0.3.0.tgz", "models.slipway.dev.yaml"} < names
    sums = dict(
        reversed(line.split("  ")) for line in (first / "SHA256SUMS").read_text().splitlines()
    )
    assert set(sums) == names - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((first / name).read_bytes()).hexdigest() == digest
    assert (again / "SHA256SUMS").read_text() == (first / "SHA256SUMS").read_text()

    shown = subprocess.run(
        [tools.find("helm"), "show", "chart", first / "slipway-0.3.0.tgz"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "version: 0.3.0\n" in shown
    with tarfile.open(first / "slipway-0.3.0.tgz") as chart:
        assert "slipway/files/models.slipway.dev.yaml" in chart.getnames()

    document = json.loads((first / "slipway-server-0.3.0.cdx.json").read_text())
    kinds = {component["purl"].partition("/")[0] for component in document["components"]}
    assert kinds == {"pkg:pypi", "pkg:cargo"}
    found = {component["name"]: component["version"] for component in document["components"]}
    assert f"\ngrpcio=={found['grpcio']} " in (ROOT / "requirements/server.lock").read_text()
    assert found["h2"]
    assert "twine upload" in done.stderr


def test_what_is_not_what_the_tag_names_is_not_released(checkout: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def refusal(tag: str = TAG) -> str:
        done = make_release(checkout, out, tag)
        assert done.returncode != 0
        assert not out.exists()
        return done.stderr

    assert "no release: `0.3.0` is no tag of a release; give one such as TAG=v0.1.0" in refusal(
        "0.3.0"
    )
    assert "there is no tag v0.4.0" in refusal("v0.4.0")
    git(checkout, "tag", "v0.4.0")
    try:
        told = refusal("v0.4.0")
        assert "server/pyproject.toml says version 0.3.0, not 0.4.0" in told
        assert "charts/slipway/Chart.yaml says appVersion 0.3.0, not 0.4.0" in told
        assert "CHANGELOG.md does not begin with 0.4.0" in told
        (checkout / "README.md").write_text("changed")
        assert "there are changes that are not committed:\nM README.md" in refusal()
        git(checkout, "commit", "--quiet", "--all", "--message=More")
        assert f"HEAD is not at {TAG}: git checkout {TAG}" in refusal()
    finally:
        git(checkout, "reset", "--quiet", "--hard", TAG)
        git(checkout, "tag", "--delete", "v0.4.0")
