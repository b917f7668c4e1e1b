"""The C++ server in `servers/standin`: built on demand, with Debian's grpc++ and the library of TensorFlow's wheel."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

NAME = "C++ stand-in"
_SOURCES = Path(__file__).resolve().parent / "servers" / "standin"


def built() -> Path:
    """Build it where that has not been done since its sources changed; return the program.

    Raises:
        subprocess.CalledProcessError: it cannot be built; the reason is on the standard error.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = base / "slipway" / "bench" / "standin"
    subprocess.run([str(_SOURCES / "build"), str(program), str(_package() / "include")], check=True)
    return program


def command(program: Path, port: int, work: Path) -> list[str]:
    """Return how it is started with the models that `server_bench.exports` has written."""
    library = _package() / "libtensorflow_cc.so.2"
    return [str(program), str(port), str(library), *(work / "standin.txt").read_text().split()]


def model(name: str, directory: Path, graph: Path) -> str:
    """Write the graph of a SavedModel to a file; return the model as an argument."""
    from slipway_server.servables.tensorflow.exports.saved_model import read_saved_model

    export = read_saved_model(directory, frozenset({"serve"}))
    graph.write_bytes(bytes(export.graph))
    signature = export.signatures["serving_default"]
    restore = export.restore
    words = [
        str(graph),
        export.variables if restore and restore.files else "none",
        restore.operation if restore else "",
        restore.file_tensor if restore else "",
        signature.inputs["x"].name,
        signature.outputs["y"].name,
    ]
    return f"{name}={','.join(words)}"


def _package() -> Path:
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
