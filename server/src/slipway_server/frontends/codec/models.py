"""Status and metadata of models, alike over gRPC and REST."""

from typing import Any

from google.protobuf.json_format import MessageToDict

from slipway_server.core.states import StateMonitor, VersionState
from slipway_server.errors import not_found
from slipway_server.servables.servable import ServedModel
from slipway_server.wire.tensorflow_serving.apis import get_model_metadata_pb2


def model_states(
    monitor: StateMonitor, model: str, version: int | None
) -> tuple[VersionState, ...]:
    """Return the state of one version, or of all with the highest number first.

    Raises:
        ServingError: NOT_FOUND.
    """
    states = monitor.of(model)
    if version is not None:
        states = tuple(state for state in states if state.version == version)
        if not states:
            raise not_found(f"Could not find version {version} of model {model}")
    if not states:
        raise not_found(f"Could not find any versions of model {model}")
    return states


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
