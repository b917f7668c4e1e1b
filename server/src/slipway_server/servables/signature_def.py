"""Signatures as the metadata API shows them, of formats whose files hold no `SignatureDef`."""

from tensorflow.core.protobuf import meta_graph_pb2

from slipway_server.servables.signature import Signature


def as_signature_def(signature: Signature) -> meta_graph_pb2.SignatureDef:
    """Return a signature as the metadata API shows it."""
    definition = meta_graph_pb2.SignatureDef(method_name=signature.method)
    for specs, infos in (
        (signature.inputs, definition.inputs),
        (signature.outputs, definition.outputs),
    ):
        for alias, spec in specs.items():
            infos[alias].name = spec.tensor
            infos[alias].dtype = spec.dtype
            infos[alias].tensor_shape.unknown_rank = spec.shape is None
            for size in spec.shape or ():
                infos[alias].tensor_shape.dim.add(size=size)
    return definition
