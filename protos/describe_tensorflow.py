"""Writes the descriptors of TensorFlow's own messages, which ours import, to the file that is its argument."""

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

MODULES = (
    "example.example_pb2",
    "protobuf.config_pb2",
    "protobuf.error_codes_pb2",
    "protobuf.meta_graph_pb2",
    "protobuf.named_tensor_pb2",
)


def with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    for needed in file.dependencies:
        yield from with_imports(needed)
    yield file


def main(out: Path) -> None:
    package = find_spec("tensorflow")
    assert package is not None
    # Its messages need none of what the package imports, which takes seconds.
    sys.modules[package.name] = module_from_spec(package)
    files = {
        file.name: file.serialized_pb
        for module in MODULES
        for file in with_imports(import_module(f"tensorflow.core.{module}").DESCRIPTOR)
    }
    described = FileDescriptorSet()
    for serialized in files.values():
        described.file.add().MergeFromString(serialized)
    out.write_bytes(described.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
