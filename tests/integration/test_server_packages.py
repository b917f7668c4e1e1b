"""What `make dist` builds installs without this repository, and runs on every Python that it is declared for."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from exchanges import Ask, Stubs
from modelserver import running
from savedmodels import save_double

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = {
    "sync": "slipway_sync",
    "operator": "slipway_operator",
    "server": "slipway_server",
    "cli": "slipway_cli",
}
PREDICT = "/tensorflow.serving.PredictionService/Predict"
SUPPORTED = ("3.11", "3.12", "3.13")
UV = ROOT / ".local/uv/bin/uv"


def interpreters() -> dict[str, Path]:
    """The Pythons of this machine by version, without a version manager's stand-ins that start none."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": Path(sys.executable)}
    managed = sorted(Path.home().glob(".pyenv/versions/*/bin"))
    for version in SUPPORTED:
        for folder in (*os.get_exec_path(), *managed):
            python = Path(folder) / f"python{version}"
            if version not in found and python.exists() and starts(python):
                found[version] = python
    return found


def starts(python: Path) -> bool:
    return not subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode


def uv(*arguments: str | Path) -> str:
    command = [UV, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packages") / "dist"
    done = subprocess.run(
        ["make", "-C", ROOT, "dist", f"DIST={out}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.parametrize(("folder", "package"), DISTRIBUTIONS.items())
def test_packages_hold_the_code_its_licence_and_nothing_else(
    dist: Path, folder: str, package: str
) -> None:
    [wheel], [sdist] = dist.glob(f"{package}-*.whl"), dist.glob(f"{package}-*.tar.gz")
    sources = {
        str(path.relative_to(ROOT / folder / "src"))
        for path in (ROOT / folder / "src").rglob("*")
        if path.suffix in {".py", ".pyi"} or path.name == "py.typed" or path.parent.name == "assets"
    }
    if folder == "server":
        # What was compiled is in the wheel of its platform, and in no sdist.
        assert re.fullmatch(r".*-cp311-abi3-manylinux_2_\d+_\w+\.whl", wheel.name)
        compiled = {"slipway_server/_native.abi3.so"}
    else:
        assert wheel.name.endswith("-py3-none-any.whl")
        compiled = set()
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert packed == sources | compiled
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert (
        names - {f"src/{name}" for name in sources}
        == {
            "LICENSE",
            "PKG-INFO",
            "README.md",
            "pyproject.toml",
            "hatch_build.py",
            ".gitignore",
        }
        & names
    )
    assert (ROOT / folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_every_dependency_has_an_upper_bound(folder: str) -> None:
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project.get("optional-dependencies", {}).get("cpu", [])]
    # Lists of CA certificates are dated, and newer is better.
    unbounded = [line for line in lines if "<" not in line and "==" not in line]
    assert [line for line in unbounded if not line.startswith("certifi")] == []


def install(venv: Path, version: str, lock: str, *wheels: Path) -> None:
    """Install wheels and what a lock pins into a new environment."""
    if version not in (pythons := interpreters()):
        pytest.skip(f"there is no Python {version} on this machine")
    uv("venv", "--quiet", "--python", pythons[version], venv)
    into = ("--quiet", "--python", venv / "bin/python")
    uv("pip", "install", *into, "--require-hashes", "-r", ROOT / f"requirements/{lock}.lock")
    uv("pip", "install", *into, "--no-deps", *wheels)
    # Fails where a requirement of a package is not met.
    uv("pip", "check", *into)


def said(*command: str | Path) -> str:
    # Not the packages of this repository, which the environment of the tests points to.
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_server_installed_from_its_wheel_answers(
    version: str, dist: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    install(venv, version, "server", *dist.glob("slipway_server-*.whl"))
    installed = uv("pip", "freeze", "--python", venv / "bin/python")
    assert "tensorflow-cpu==" in installed
    # Two gigabytes of CUDA that a CPU does not use came along with it.
    assert "tensorflow==" not in installed
    assert "tensorflow-serving-api" not in installed
    assert "slipway-server" in said(venv / "bin/slipway-server", "--version")
    save_double(tmp_path / "m" / "1", 1)
    flags = ("--front=native", "--model_name=m", f"--model_base_path={tmp_path / 'm'}")
    program = [str(venv / "bin/slipway-server")]
    with running(tmp_path, *flags, env={"PYTHONPATH": ""}, program=program) as server:
        server.wait_ready()
        assert server.predict("m", {"instances": [1.0]}).json() == {"predictions": [3.0]}
        stubs = Stubs(server.target)
        request = stubs.predict_request(Ask({"x": ("float", [1.0])}, model="m"), content=True)
        answer = stubs.channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=60)
        stubs.channel.close()
        assert stubs.apis.predict_pb2.PredictResponse.FromString(answer).outputs
        metrics = server.get("/monitoring/prometheus/metrics").text
        assert 'slipway_native_predictions_total{answered_by="native"} 1.0' in metrics
    shutil.rmtree(venv)


@pytest.mark.parametrize("version", SUPPORTED)
def test_operator_and_agent_installed_from_their_wheels_start(
    version: str, dist: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    wheels = [*dist.glob("slipway_operator-*.whl"), *dist.glob("slipway_sync-*.whl")]
    install(venv, version, "operator", *wheels)
    crd = said(venv / "bin/slipway-operator", "crd")
    assert crd == (ROOT / "crds/models.slipway.dev.yaml").read_text()
    assert "verify" in said(venv / "bin/slipway-sync", "--help")
    shutil.rmtree(venv)


@pytest.mark.parametrize("version", SUPPORTED)
def test_the_command_line_installed_from_its_wheel_looks_at_an_export(
    version: str, dist: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    wheels = [*dist.glob("slipway_cli-*.whl"), *dist.glob("slipway_sync-*.whl")]
    install(venv, version, "cli", *wheels)
    installed = uv("pip", "freeze", "--python", venv / "bin/python")
    assert "tensorflow" not in installed
    assert "kopf" not in installed
    save_double(tmp_path / "m" / "1", 1)
    program = venv / "bin/slipway"
    assert "x   float32 [?]" in said(program, "signatures", tmp_path / "m", "-o", "table")
    assert "is complete" in said(program, "verify", tmp_path / "m", "-o", "table", "--checksums")
    assert "batch" in said(program, "--help")
    assert "rollback" in said(venv / "bin/kubectl-slipway", "--help")
    assert "promote" in said(venv / "bin/kubectl_complete-slipway", "pro")
    shutil.rmtree(venv)
