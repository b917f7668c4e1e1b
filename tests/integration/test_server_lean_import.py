"""The server runs no Python code of TensorFlow; what needs some imports that alone, or with the whole package."""

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
from slipway_server.tensorflow_library.lean_import import make_packages_known
make_packages_known()
"""

SERVE = """
import sys
import numpy as np
from loaders import servable_loader
from slipway_server.app import assembly
from slipway_server.errors import ServingError

def value(spec):
    shape = tuple(2 if size < 0 else size for size in (spec.shape if spec.shape is not None else (2,)))
    return np.full(shape, b"two", object) if spec.dtype.numpy == object else np.ones(shape, spec.dtype.numpy)

loader = servable_loader(lite_interpreters=int(any("lite" in path for path in sys.argv[1:])))
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
files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
code = [name for name, file in files.items() if name.startswith("tensorflow.") and not file.endswith("_pb2.py")]
print("code:", sorted(name for name in code if files[name] and not files[name].endswith("__init__.py"))[:3])
with open("/proc/self/maps") as maps:
    print("python:", any("_pywrap" in line for line in maps))
"""

PYTHON = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf

for path in sys.argv[1:]:
    with tf.Graph().as_default(), tf.Session() as session:
        loaded = tf.saved_model.load(session, ["serve"], path)
        for key, signature in sorted(loaded.signature_def.items()):
            if key.startswith("__"):
                continue
            feeds = {}
            for info in signature.inputs.values():
                tensor = session.graph.get_tensor_by_name(info.name)
                shape = [2 if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
                feeds[tensor] = np.full(shape, b"two" if tensor.dtype == tf.string else 1)
            fetches = [info.name for _, info in sorted(signature.outputs.items())]
            print("answer:", key, [(x.dtype, x.tolist()) for x in session.run(fetches, feeds)])
"""

NOT_ALONE = """
import sys
class Once:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow.lite.python.interpreter":
            sys.meta_path.remove(self)
            raise ImportError("it needs the package")
sys.meta_path.insert(0, Once())
"""


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return the directories of two SavedModels, a SessionBundle and a TensorFlow Lite file."""
    folder = tmp_path_factory.mktemp("lean")
    savedmodels.save_double(folder / "variables", 1)
    savedmodels.save_words(folder / "table", folder / "words.txt")
    bundle = session_bundles.save_half_plus_two(folder / "bundle", 1, Format.V2)
    lite = folder / "tflite"
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


def test_graphs_are_served_without_python_code_of_tensorflow(
    versions: tuple[str, ...], lean: dict[str, list[str]]
) -> None:
    *graphs, _lite = versions
    found = said(START + SERVE, tuple(graphs))
    assert (found["code"], found["python"], found["whole"]) == (["[]"], ["False"], ["False"])
    assert len(found["answer"]) > 4
    assert set(found["answer"]) < set(lean["answer"])
    assert any("[4.0, 4.0]" in answer or "[3.0, 3.0]" in answer for answer in found["answer"])


def test_tensorflow_itself_answers_the_same(
    versions: tuple[str, ...], lean: dict[str, list[str]]
) -> None:
    python = said(PYTHON, versions[:2])["answer"]
    assert len(python) > 1
    assert lean["answer"][: len(python)] == python


def test_all_formats_are_served_without_what_builds_and_trains_models(
    lean: dict[str, list[str]],
) -> None:
    assert (lean["whole"], lean["unused"]) == (["False"], ["[]"])
    assert len(lean["answer"]) > 5


def test_where_a_module_cannot_be_imported_alone_the_whole_package_serves_the_same(
    versions: tuple[str, ...], lean: dict[str, list[str]]
) -> None:
    whole = said(NOT_ALONE + START + SERVE, versions)
    assert whole["whole"] == ["True"]
    assert whole["answer"] == lean["answer"]
