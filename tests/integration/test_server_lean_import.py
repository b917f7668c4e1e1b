"""The server imports TensorFlow's library without its Python package; where it cannot, it imports the package."""

import os
import subprocess
import sys

import pytest

import savedmodels
import session_bundles
from lite_models import plain
from session_bundles import Format

START = """
import sys
from slipway_server.tensorflow_library.lean_import import import_library
print("reason:", import_library())
"""

SERVE = """
import numpy as np
from loaders import servable_loader
from slipway_server.app import assembly
from slipway_server.errors import ServingError

def value(spec):
    shape = tuple(2 if size < 0 else size for size in spec.shape or (2,))
    return np.full(shape, b"two", object) if spec.dtype.numpy == object else np.ones(shape, spec.dtype.numpy)

loader = servable_loader(lite_interpreters=1)
for path in sys.argv[1:]:
    model = loader.load("m", 1, path)
    for key, signature in sorted({**model.signatures, **model.example_signatures}.items()):
        try:
            answer = model.run(signature, {a: value(s) for a, s in signature.inputs.items()}, list(signature.outputs))
            print("answer:", key, [(x.dtype, x.tolist()) for x in answer])
        except ServingError as error:
            print("answer:", key, repr(str(error)))
    loader.unload(model)
try:
    loader.load("m", 1, "/nonexistent")
except ServingError as error:
    print("answer:", error)
print("whole:", hasattr(sys.modules["tensorflow"], "__version__"))
unused = ("keras", "tensorflow.python.ops", "tensorflow.python.eager.context")
print("unused:", [name for name in sys.modules if name.startswith(unused)][:3])
"""

NOT_ALONE = """
import sys
class Once:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow.python.lib.io.tf_record":
            sys.meta_path.remove(self)
            raise ImportError("it needs the package")
sys.meta_path.insert(0, Once())
"""

LAYOUT = """
from slipway_server.servables.tensorflow import native
native._LAYOUT = (0, 0, 0)
"""


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return the directories of two SavedModels, a SessionBundle and a TensorFlow Lite file."""
    folder = tmp_path_factory.mktemp("lean")
    savedmodels.save_double(folder / "variables", 1)
    savedmodels.save_words(folder / "table", folder / "words.txt")
    bundle = session_bundles.save_half_plus_two(folder, 1, Format.V2)
    lite = folder / "lite"
    lite.mkdir()
    (lite / "model.tflite").write_bytes(plain())
    return (str(folder / "variables"), str(folder / "table"), str(bundle), str(lite))


def said(program: str, arguments: tuple[str, ...]) -> dict[str, list[str]]:
    """Return what a fresh interpreter prints, by the word before the colon."""
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines: dict[str, list[str]] = {}
    for line in ran.stdout.splitlines():
        word, _, rest = line.partition(": ")
        lines.setdefault(word, []).append(rest)
    return lines


@pytest.fixture(scope="module")
def lean(versions: tuple[str, ...]) -> dict[str, list[str]]:
    return said(START + SERVE, versions)


def test_all_formats_are_served_without_what_builds_and_trains_models(
    lean: dict[str, list[str]],
) -> None:
    assert (lean["reason"], lean["whole"], lean["unused"]) == ([""], ["False"], ["[]"])
    assert len(lean["answer"]) > 5
    assert any("[4.0, 4.0]" in answer or "[3.0, 3.0]" in answer for answer in lean["answer"])


def test_where_a_module_cannot_be_imported_alone_the_whole_package_serves_the_same(
    versions: tuple[str, ...], lean: dict[str, list[str]]
) -> None:
    whole = said(NOT_ALONE + START + SERVE, versions)
    assert (whole["reason"], whole["whole"]) == (["ImportError: it needs the package"], ["True"])
    assert whole["answer"] == lean["answer"]


def test_where_the_layout_of_a_graph_is_unknown_tensorflows_python_api_serves_the_same(
    versions: tuple[str, ...], lean: dict[str, list[str]]
) -> None:
    python = said(START + LAYOUT + SERVE, versions)
    assert (python["reason"], python["whole"]) == ([""], ["True"])
    assert python["answer"] == lean["answer"]
