"""§15: the messages that TensorFlow Serving's wheel lacks read its text files and its wire bytes."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from slipway_server.wire.batching_parameters_pb2 import BatchingParameters
from slipway_server.wire.monitoring_config_pb2 import MonitoringConfig
from slipway_server.wire.session_bundle_pb2 import AssetFile, Signatures
from slipway_server.wire.ssl_config_pb2 import SSLConfig

BATCHING = """
max_batch_size { value: 128 }  batch_timeout_micros { value: 0 }  max_enqueued_batches { value: 1000 }
num_batch_threads { value: 8 }  thread_pool_name { value: "pool" }
allowed_batch_sizes: 64  allowed_batch_sizes: 128  pad_variable_length_inputs: true
enable_large_batch_splitting { value: true }  max_execution_batch_size { value: 64 }
"""
SIGNATURES = """
default_signature { regression_signature { input { tensor_name: "x:0" } output { tensor_name: "y:0" } } }
named_signatures { key: "inputs" value { generic_signature { map { key: "x" value { tensor_name: "x:0" } } } } }
named_signatures { key: "c" value { classification_signature {
  input { tensor_name: "x:0" } classes { tensor_name: "c:0" } scores { tensor_name: "s:0" } } } }
"""


@pytest.mark.parametrize(
    ("text", "message", "wire"),
    [
        pytest.param(
            BATCHING,
            BatchingParameters(),
            "0a03088001 1200 1a0308e807 22020808 2a060a04706f6f6c 3203408001 3801 42020801 4a020840",
            id="BatchingParameters",
        ),
        pytest.param(
            'server_key: "k" server_cert: "c" custom_ca: "a" client_verify: true',
            SSLConfig(),
            "0a016b 120163 1a0161 2001",
            id="SSLConfig",
        ),
        pytest.param(
            'prometheus_config { enable: true path: "/m" }',
            MonitoringConfig(),
            "0a06 0801 12022f6d",
            id="MonitoringConfig",
        ),
        pytest.param(
            'tensor_binding { tensor_name: "a:0" } filename: "f"',
            AssetFile(),
            "0a05 0a03613a30 120166",
            id="AssetFile",
        ),
    ],
)
def test_text_and_wire(text: str, message: Message, wire: str) -> None:
    text_format.Parse(text, message)
    assert message.SerializeToString(deterministic=True) == bytes.fromhex(wire.replace(" ", ""))
    assert message.DESCRIPTOR.full_name == f"tensorflow.serving.{message.DESCRIPTOR.name}"


def test_signatures_of_a_session_bundle() -> None:
    signatures = Signatures()
    text_format.Parse(SIGNATURES, signatures)
    again = Signatures.FromString(signatures.SerializeToString())
    assert again.default_signature.WhichOneof("type") == "regression_signature"
    assert (
        again.named_signatures["inputs"].generic_signature.map["x"].tensor_name,
        again.named_signatures["c"].classification_signature.scores.tensor_name,
    ) == ("x:0", "s:0")
    numbers = {field.name: field.number for field in signatures.default_signature.DESCRIPTOR.fields}
    assert numbers == {
        "regression_signature": 1,
        "classification_signature": 2,
        "generic_signature": 3,
    }
