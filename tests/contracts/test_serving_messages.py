"""§15: the server's declarations of TensorFlow Serving's messages are those that its clients are built with."""

import importlib
import pkgutil

import pytest

from slipway_server.wire import tensorflow_serving as ours

MODULES = [
    f"{package.name}.{module.name}"
    for package in pkgutil.iter_modules(ours.__path__)
    for module in pkgutil.iter_modules([f"{ours.__path__[0]}/{package.name}"])
]


def test_there_are_modules() -> None:
    assert "apis.predict_pb2" in MODULES
    assert "config.model_server_config_pb2" in MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_declared_as_the_published_client_declares_it(module: str) -> None:
    importlib.import_module("tensorflow")  # All of it: other tests of this process use that.
    mine = importlib.import_module(f"{ours.__name__}.{module}")
    # With one difference, even in the order of fields, one process could not import both.
    published = importlib.import_module(f"tensorflow_serving.{module}")
    assert mine.DESCRIPTOR.serialized_pb == published.DESCRIPTOR.serialized_pb
