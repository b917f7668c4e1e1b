"""Serialized tf.Examples, as both front ends hand them to the predictor."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from slipway_server.errors import invalid_argument
from slipway_server.servables.signature import Array

_MAX_REPEATED_BYTES: Final = 64 << 20
"""What a context may grow to when it stands before each Example."""


def example_vector(examples: Sequence[bytes], context: bytes = b"") -> Array:
    """Return serialized tf.Examples as a vector of `bytes` objects.

    A context stands before each of them: two serialized messages in a row are the serialized form of both merged, in
    which a feature of the Example takes the place of the context's.

    Raises:
        ServingError: INVALID_ARGUMENT for a context that would take far more memory than was sent.
    """
    if len(context) * len(examples) > _MAX_REPEATED_BYTES:
        raise invalid_argument(
            f"A context of {len(context)} bytes before each of {len(examples)} examples exceeds the limit of "
            f"{_MAX_REPEATED_BYTES} bytes"
        )
    vector = np.empty(len(examples), object)
    vector[:] = [context + example for example in examples] if context else list(examples)
    return vector
