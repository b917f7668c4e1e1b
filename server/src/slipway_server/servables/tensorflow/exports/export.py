"""What a directory says about its model, whichever of TensorFlow's layouts it has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tensorflow.core.protobuf import meta_graph_pb2

ASSETS_DIRECTORY: Final = "assets"


@dataclass(frozen=True, slots=True)
class Restore:
    """How variables get their values.

    Attributes:
        operation: name of the restore operation in the graph.
        file_tensor: the tensor that is fed with `files`.
        files: a prefix, a file or a pattern, as the operation wants it; empty when the export has no such files.
        expected: the file whose absence makes `files` empty, relative to the export.
    """

    operation: str
    file_tensor: str
    files: str
    expected: str


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """A graph and what must be done with it before it can answer.

    Attributes:
        graph: the operations, as a serialized GraphDef.
        signatures: by key, as the metadata API shows them.
        example_signatures: signatures that Classify and Regress use in place of `signatures` of the same key.
        assets: tensor → path of the file that it names.
        restore: None when there are no variables.
        init_operation: runs after the variables are restored; empty when there is none.
        object_graph: the objects that were exported, as a serialized SavedObjectGraph; empty before TensorFlow 2.
        variables: the prefix of the files with the variables' values; empty when there are none, or of an older format.
    """

    graph: bytes | memoryview
    signatures: Mapping[str, meta_graph_pb2.SignatureDef]
    assets: Mapping[str, str]
    restore: Restore | None
    init_operation: str
    example_signatures: Mapping[str, meta_graph_pb2.SignatureDef] = field(default_factory=dict)
    object_graph: bytes | memoryview = b""
    variables: str = ""


def tensor_name(name: str) -> str:
    """Return the name of a tensor; that of an operation means its first output.

    >>> tensor_name("x"), tensor_name("x:1")
    ('x:0', 'x:1')
    """
    return name if ":" in name else f"{name}:0"
