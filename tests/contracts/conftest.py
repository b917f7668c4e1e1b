"""One server with all the models of the exchange tables, for every contract test that asks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import savedmodels
from example_models import save_examples
from exchanges import Stubs
from modelserver import ModelServer, eventually, running

CONFIG = """
model_config_list {{
  config {{ name: "double" base_path: "{root}/double" model_platform: "tensorflow"
           model_version_policy {{ all {{}} }}
           version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "later" value: 77 }} }}
  config {{ name: "kinds" base_path: "{root}/kinds" model_platform: "tensorflow" }}
  config {{ name: "columns" base_path: "{root}/columns" model_platform: "tensorflow" }}
  config {{ name: "words" base_path: "{root}/words" model_platform: "tensorflow" }}
  config {{ name: "old" base_path: "{root}/old" model_type: TENSORFLOW }}
  config {{ name: "constant" base_path: "{root}/constant" model_platform: "tensorflow" }}
  config {{ name: "examples" base_path: "{root}/examples" model_platform: "tensorflow"
           version_labels {{ key: "stable" value: 1 }} }}
  config {{ name: "half uploaded" base_path: "{root}/half" model_platform: "tensorflow" }}
  config {{ name: "nothing" base_path: "{root}/nothing" model_platform: "tensorflow" }}
}}
"""


SERVING = {"double", "kinds", "columns", "words", "old", "constant", "examples"}
FLAGS = (
    "--file_system_poll_wait_seconds=0",
    "--rest_api_max_body_bytes=400000",
    "--rest_api_max_decompressed_bytes=500000",
    "--drain_seconds=0",
    "--isolated_first_load=false",
)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all the models."""
    root = tmp_path_factory.mktemp("models")
    for version in (1, 2):
        savedmodels.save_double(root / "double" / str(version), version)
    savedmodels.save_kinds(root / "kinds" / "1")
    savedmodels.save_columns(root / "columns" / "00000005")
    savedmodels.save_words(root / "words" / "1", root / "words.txt")
    savedmodels.save_old(root / "old" / "1", root / "old.txt")
    savedmodels.save_constant(root / "constant" / "1")
    save_examples(root / "examples" / "1")
    savedmodels.save_double(root / "half" / "1", 1)
    (root / "half" / "1" / "variables" / "variables.index").unlink()
    (root / "nothing").mkdir()
    return root


@pytest.fixture(scope="session")
def server(exported: Path) -> Iterator[ModelServer]:
    config = exported / "models.config"
    config.write_text(CONFIG.format(root=exported))
    with running(exported, f"--model_config_file={config}", *FLAGS) as started:

        def settled() -> bool:
            serving = {name for name, ok in started.get("/readyz").json()["models"].items() if ok}
            return (
                serving == SERVING
                and started.states("double") == {1: "AVAILABLE", 2: "AVAILABLE"}
                and started.states("half%20uploaded") == {1: "END"}
            )

        eventually("every model serves or has failed", settled)
        yield started


@pytest.fixture(scope="session")
def stubs(server: ModelServer) -> Iterator[Stubs]:
    stubs = Stubs(server.target)
    yield stubs
    stubs.channel.close()
