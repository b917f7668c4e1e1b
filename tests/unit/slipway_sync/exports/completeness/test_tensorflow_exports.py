"""§17: what TensorFlow itself writes is read without it, and its checksums are understood."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from slipway_sync.exports import (
    ChecksumError,
    Proof,
    ShardChecker,
    Verdict,
    read_bundle,
    read_graph,
)
from slipway_sync.stores import LocalStore, prove


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import faulty_exports
    import tf_exports

    base = tmp_path_factory.mktemp("tensorflow")
    words = base / "words.txt"
    words.write_text("apple\nbanana\n")
    tf_exports.save_module(base / "models/1")
    tf_exports.save_with_vocabulary(base / "models/2", words)
    tf_exports.save_constant(base / "models/3")
    tf_exports.save_text_graph(base / "models/4", words)
    faulty_exports.save_keras_objects(base / "models/5")
    for number, function in enumerate(faulty_exports.python_calls().values()):
        faulty_exports.save_function(base / "python" / str(number), function)
    faulty_exports.save_unreached_python(base / "unreached/1")
    (base / "bundles").mkdir()
    tf_exports.save_tensors(base / "bundles/one")
    tf_exports.save_tensors(base / "bundles/three", shards=3)
    return base


EXPECTED = {
    "1": ("saved_model.pb", True, ()),
    "2": ("saved_model.pb", True, ("words.txt",)),
    "3": ("saved_model.pb", False, ()),
    "4": ("saved_model.pbtxt", True, ("words.txt",)),
    "5": ("saved_model.pb", True, ()),
}


@pytest.mark.parametrize("version", EXPECTED)
def test_its_graphs_say_what_they_need(exports: Path, version: str) -> None:
    name, has_saver, assets = EXPECTED[version]
    graph = read_graph(name, (exports / "models" / version / name).read_bytes())
    assert graph.tags == (frozenset({"serve"}),)
    assert (graph.has_saver, graph.assets) == (has_saver, assets)


@pytest.mark.parametrize("version", EXPECTED)
def test_its_exports_are_complete_and_without_any_needed_file_they_are_not(
    exports: Path, version: str, tmp_path: Path
) -> None:
    shutil.copytree(exports / "models" / version, tmp_path / version)

    def verdict() -> Verdict:
        return proof_of(tmp_path, version).verdict

    assert verdict() is Verdict.COMPLETE
    needed = [
        path
        for path in (tmp_path / version).rglob("*")
        if path.is_file() and path.name != "fingerprint.pb"
    ]
    assert needed
    for path in needed:
        content = path.read_bytes()
        path.unlink()
        assert verdict() is Verdict.INCOMPLETE, path.name
        path.write_bytes(content)
    assert verdict() is Verdict.COMPLETE


def proof_of(base: Path, version: str) -> Proof:
    store = LocalStore(base)
    listing = asyncio.run(store.listing(version))
    return asyncio.run(prove(store, version, listing))


def test_calls_of_python_are_found_where_a_signature_runs_them(exports: Path) -> None:
    versions = sorted(path.name for path in (exports / "python").iterdir())
    assert len(versions) == 7
    for version in versions:
        proof = proof_of(exports / "python", version)
        assert (proof.reason, proof.object) == ("UnsupportedOperation", "saved_model.pb")
        assert "PyFunc" in proof.message
        assert "of function " in proof.message
        assert "which signature serving_default runs" in proof.message
    assert proof_of(exports / "unreached", "1").verdict is Verdict.COMPLETE


def test_variables_of_another_export_are_found(exports: Path, tmp_path: Path) -> None:
    shutil.copytree(exports / "models/5", tmp_path / "5")
    shutil.rmtree(tmp_path / "5/variables")
    shutil.copytree(exports / "models/1/variables", tmp_path / "5/variables")
    proof = proof_of(tmp_path, "5")
    assert (proof.reason, proof.object) == ("MissingTensor", "variables/variables.index")


def test_a_variable_that_a_checkpoint_lacks_is_found(exports: Path) -> None:
    directory = exports / "models/5"
    content = (directory / "saved_model.pb").read_bytes()
    [graph] = read_graph("saved_model.pb", content).objects.values()
    index = (directory / "variables/variables.index").read_bytes()
    keys = read_bundle(index, "variables/variables").keys
    assert graph.without_value(keys) is None
    fewer = [key for key in keys if "bias" not in key]
    assert 0 < len(fewer) < len(keys)
    missing = graph.without_value(fewer)
    assert missing is not None
    assert missing.name.endswith("bias")


BUNDLES = [
    "bundles/one",
    "bundles/three",
    "models/1/variables/variables",
    "models/2/variables/variables",
    "models/4/variables/variables",
]


@pytest.mark.parametrize("prefix", BUNDLES)
@pytest.mark.parametrize("step", [7, 4096, 1 << 20])
def test_its_checksums_are_right_for_every_kind_of_tensor(
    exports: Path, prefix: str, step: int
) -> None:
    bundle = read_bundle((exports / f"{prefix}.index").read_bytes(), str(exports / prefix))
    for shard in range(bundle.shards):
        data = Path(bundle.shard_path(shard)).read_bytes()
        assert len(data) == bundle.least_sizes()[bundle.shard_path(shard)]
        checker = ShardChecker(item for item in bundle.tensors if item.shard == shard)
        for start in range(0, len(data), step):
            checker.feed(data[start : start + step])
        checker.finish()


def test_a_flipped_bit_is_found_in_every_kind_of_tensor(exports: Path) -> None:
    bundle = read_bundle((exports / "bundles/one.index").read_bytes(), str(exports / "bundles/one"))
    data = Path(bundle.shard_path(0)).read_bytes()
    kinds = set()
    for tensor in bundle.tensors:
        step = max(tensor.size // 50, 1)
        for position in range(tensor.offset, tensor.offset + tensor.size, step):
            changed = bytearray(data)
            changed[position] ^= 0x10
            checker = ShardChecker(bundle.tensors)
            with pytest.raises(ChecksumError, match=f"tensor {tensor.name} is damaged"):
                checker.feed(bytes(changed))
            kinds.add(tensor.name)
    assert kinds == {"numbers", "strings", "unicode", "variant"}
