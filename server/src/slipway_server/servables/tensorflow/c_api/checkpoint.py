"""What is in a checkpoint, by the reader in TensorFlow's library."""

import os
from collections.abc import Mapping

from slipway_server.servables.tensorflow.c_api.library import Long, c_api
from slipway_server.servables.tensorflow.c_api.status import Status


def checkpoint_shapes(prefix: str) -> Mapping[str, tuple[int, ...]]:
    """Return the shape of each value in a checkpoint, by its key.

    Raises:
        ServingError: TensorFlow's code and message, when the checkpoint cannot be read.
    """
    library = c_api()
    with Status() as status:
        reader = library.new_reader(os.fsencode(prefix), status.pointer)
        status.check()
        try:
            shapes = {}
            for number in range(library.reader_size(reader)):
                key = library.reader_variable(reader, number)
                rank = library.reader_rank(reader, key)
                sizes = (Long * max(rank, 0))()
                library.reader_shape(reader, key, sizes, rank, status.pointer)
                status.check()
                shapes[key.decode("utf-8", "replace")] = tuple(sizes)
        finally:
            library.delete_reader(reader)
    return shapes
