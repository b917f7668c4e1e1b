"""A model's signatures as the metadata API shows them."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import get_model_metadata_pb2

from slipway_server.servables.servable import ServedModel


def signature_def_map(model: ServedModel) -> get_model_metadata_pb2.SignatureDefMap:
    """Return the message of a loaded model."""
    message = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in model.signature_defs.items():
        message.signature_def[key].CopyFrom(definition)
    return message


def metadata_json(name: str, version: int, model: ServedModel) -> dict[str, Any]:
    """Return the body of the REST metadata answer: field names as in the messages, defaults printed."""
    signatures = MessageToDict(
        signature_def_map(model),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": signatures},
    }
