"""The few messages of the kubelet's plugin protocols that a device plugin speaks.

They are declared here instead of generated: field numbers are those of the kubelet's
pluginregistration/v1 and deviceplugin/v1beta1; names of messages are not on the wire.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "slipway.deviceplugin"

_Field = descriptor_pb2.FieldDescriptorProto

# Message: {field: (number, type)}; `[]` repeats, a capital letter names another message.
_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "Empty": {},
    "PluginInfo": {
        "type": (1, "string"),
        "name": (2, "string"),
        "endpoint": (3, "string"),
        "supported_versions": (4, "[]string"),
    },
    "RegistrationStatus": {"plugin_registered": (1, "bool"), "error": (2, "string")},
    "DevicePluginOptions": {
        "pre_start_required": (1, "bool"),
        "get_preferred_allocation_available": (2, "bool"),
    },
    "Device": {"ID": (1, "string"), "health": (2, "string")},
    "ListAndWatchResponse": {"devices": (1, "[]Device")},
    "ContainerAllocateRequest": {"devices_ids": (1, "[]string")},
    "AllocateRequest": {"container_requests": (1, "[]ContainerAllocateRequest")},
    # On the wire a map is repeated entries of key (1) and value (2).
    "EnvironmentEntry": {"key": (1, "string"), "value": (2, "string")},
    "ContainerAllocateResponse": {"envs": (1, "[]EnvironmentEntry")},
    "AllocateResponse": {"container_responses": (1, "[]ContainerAllocateResponse")},
}

_SCALARS = {"string": _Field.TYPE_STRING, "bool": _Field.TYPE_BOOL}


def _declare() -> Mapping[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="slipway/deviceplugin.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated = kind.startswith("[]")
            element = kind.removeprefix("[]")
            declared = message.field.add(
                name=field,
                number=number,
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
                type=_SCALARS.get(element, _Field.TYPE_MESSAGE),
            )
            if element not in _SCALARS:
                declared.type_name = f".{PACKAGE}.{element}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _MESSAGES
    }


MESSAGES = _declare()
"""Message name to class."""
