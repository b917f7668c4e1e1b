"""§17: what is read of graph files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_sync.exports import GraphError, graph_fields_of, read_graph
from slipway_sync.exports.graph.graph_fields import driven
from slipway_sync.wire import tensorflow_pb2 as wire
from small_exports import capturing, graph
from tables import varint


def test_a_saved_model_says_its_tags_its_saver_and_its_assets() -> None:
    found = read_graph("saved_model.pb", graph(assets=("b", "a")))
    assert found.tags == (frozenset({"serve"}), frozenset())
    assert found.has_saver
    assert found.assets == ("a", "b")
    assert not read_graph("saved_model.pb", graph(saver=False)).has_saver


def asset_collection(name: str, kind: str) -> wire.MetaGraphDef:
    meta = wire.MetaGraphDef()
    entry = meta.collection_def[name].any_list.value.add()
    entry.type_url = f"type.googleapis.com/{kind}"
    entry.value = wire.AssetFileDef(filename="vocab.txt").SerializeToString()
    return meta


def test_assets_of_the_old_collection_are_found() -> None:
    model = wire.SavedModel(
        meta_graphs=[asset_collection("saved_model_assets", "tensorflow.AssetFileDef")]
    )
    assert read_graph("saved_model.pb", model.SerializeToString()).assets == ("vocab.txt",)


def test_a_session_bundle_is_one_meta_graph() -> None:
    meta = asset_collection("serving_assets", "tensorflow.serving.AssetFile")
    meta.saver_def.filename_tensor_name = "save/Const:0"
    found = read_graph("export.meta", meta.SerializeToString())
    assert found.assets == ("vocab.txt",)
    assert found.has_saver
    assert found.tags == ()


TEXT = """
# A comment with [type.googleapis.com/tensorflow.AssetFileDef] in it.
saved_model_schema_version: 1
meta_graphs {
  meta_info_def {
    tags: "serve"
    stripped_op_list { op { name: "NoOp" } }
  }
  graph_def {
    node {
      name: "x [type.googleapis.com/tensorflow.AssetFileDef] { \\" }"
      attr { key: "dtype" value { type: DT_FLOAT } }
      attr { key: "any" value { [type.googleapis.com/other.Thing] { a: 1 } } }
    }
  }
  saver_def { filename_tensor_name: "f:0" restore_op_name: "r" version: V2 }
  collection_def {
    key: "saved_model_assets"
    value { any_list {
      value { [type.googleapis.com/tensorflow.AssetFileDef] {
        tensor_info { name: "Const:0" } filename: "expanded.txt" } }
      value { type_url: "type.googleapis.com/tensorflow.AssetFileDef" value: "\\022\\tvalue.txt" }
      value { [type.googleapis.com/tensorflow.Other] { filename: "not this" } }
    } }
  }
  asset_file_def { tensor_info { name: "Const:0" } filename: "plain.txt" }
}
"""


def test_a_text_graph_is_read_whatever_else_it_holds() -> None:
    found = read_graph("saved_model.pbtxt", TEXT.encode())
    assert found.tags == (frozenset({"serve"}),)
    assert found.has_saver
    assert found.assets == ("expanded.txt", "plain.txt", "value.txt")


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        ("saved_model.pb", b"", "it is empty"),
        ("saved_model.pb", b"\x08\x01", "it contains no graph"),
        ("saved_model.pb", b"<html>404</html>", "not a protocol buffer message"),
        ("saved_model.pb", graph()[:-1], "truncated"),
        ("saved_model.pb", b"\x12\x03\x1a\x01\xff", "its graph is damaged"),
        ("saved_model.pb", b"\x12\x00" * 101, "more than 100 graphs"),
        ("saved_model.pb", b"\x08\x01" * 100_001, "more than 100000 fields"),
        ("saved_model.pb", b"\x12" + varint(9 << 20) + b"\x22" + varint((9 << 20) - 5)
         + bytes((9 << 20) - 5), "more than 8 MiB besides its graph"),
        ("saved_model.pbtxt", b"\xff\xfe", "not UTF-8"),
        ("saved_model.pbtxt", b"", "it is empty"),
        ("saved_model.pbtxt", b"meta_graphs {", "not protocol buffer text"),
        ("saved_model.pbtxt", b"meta_graphs {\n } }", r"\(line 2\)"),
        ("saved_model.pbtxt", b"meta_graphs {" * 5000, "not protocol buffer text"),
        ("saved_model.pbtxt", b"saved_model_schema_version: 1", "it contains no graph"),
    ],
)  # fmt: skip
def test_what_is_no_graph_is_one_error(path: str, content: bytes, why: str) -> None:
    with pytest.raises(GraphError, match=why):
        read_graph(path, content)


@given(st.sampled_from(["saved_model.pb", "saved_model.pbtxt", "export.meta"]), st.binary())
def test_arbitrary_bytes_are_one_documented_error_or_a_graph(path: str, content: bytes) -> None:
    try:
        read_graph(path, content)
    except GraphError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


@given(st.data())
def test_a_changed_graph_is_one_documented_error_or_a_graph(data: st.DataObject) -> None:
    content = bytearray(graph())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_graph("saved_model.pb", bytes(content))
    except GraphError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


@given(st.text())
def test_any_text_is_one_documented_error_or_a_graph(text: str) -> None:
    try:
        read_graph("saved_model.pbtxt", text.encode("utf-8", "surrogatepass"))
    except GraphError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


def tag_sets(*tags: str, children: int = 0, nodes: int = 0) -> bytes:
    """A SavedModel with a graph for each tag, each with some exported objects."""
    model = wire.SavedModel()
    for tag in tags:
        meta = model.meta_graphs.add()
        meta.CopyFrom(wire.SavedModel.FromString(capturing("w")).meta_graphs[0])
        meta.meta_info_def.tags[:] = [tag]
        for _ in range(children):
            meta.object_graph_def.nodes[0].children.add(local_name="child", node_id=3)
        for _ in range(nodes):
            meta.object_graph_def.nodes.add()
    return model.SerializeToString()


def with_variables(content: bytes, most: int) -> set[str]:
    """The tag sets whose objects are kept where so many bytes are."""
    steps = graph_fields_of("saved_model.pb", len(content), most=most)
    kept = driven(steps, lambda start, length: content[start : start + length])
    found = read_graph("saved_model.pb", kept)
    assert len(found.tags) == content.count(b"saver_filename:0")
    assert len(kept) < most + 100 * len(found.tags)
    return {tag for tags, one in found.objects.items() if one.captured for tag in tags}


def test_what_is_kept_of_all_tag_sets_together_is_bounded() -> None:
    content = tag_sets("a", "b", "c", "d", children=500)
    size = len(content) // 4
    assert with_variables(content, 2 * size) == {"a", "b"}
    assert with_variables(content, size + 100) == {"a"}


def test_what_is_too_large_takes_no_room_from_what_comes_after_it() -> None:
    first, large, small = (
        tag_sets(tag, children=n) for tag, n in (("a", 300), ("b", 500), ("c", 10))
    )
    assert with_variables(first + large + small, len(large) + 100) == {"a", "c"}


def test_objects_of_no_size_are_bounded_in_number() -> None:
    content = tag_sets("a", nodes=3000)
    assert with_variables(content, len(content)) == set()
    assert with_variables(content, 16 * len(content)) == {"a"}


def test_only_the_tag_set_that_is_asked_for_is_looked_into() -> None:
    content = tag_sets("a", "b", "c")
    found = read_graph("saved_model.pb", content, tags=frozenset({"b"}))
    assert found.tags == tuple(frozenset({tag}) for tag in "abc")
    assert set(found.objects) == {frozenset({"b"})}
    assert set(read_graph("saved_model.pb", content).objects) == set(found.tags)
