"""CPU time of the TensorFlow call alone, on the caller's thread: `python -m server_bench.tfcall EXPORT ROUNDS`.

Prints microseconds a call, one figure a round, as JSON.
"""

from __future__ import annotations

import json
import sys
import time

CALLS = 10_000


def main(export: str, rounds: int) -> None:
    import numpy as np
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        graph = v1.saved_model.load(session, ["serve"], export)
        signature = graph.signature_def["serving_default"]
        options = config_pb2.CallableOptions(
            feed=[signature.inputs["x"].name], fetch=[signature.outputs["y"].name]
        )
        options.run_options.inter_op_thread_pool = -1
        call = session._make_callable_from_options(options)  # noqa: SLF001
        row = np.zeros((1, signature.inputs["x"].tensor_shape.dim[1].size), np.float32)
        for _ in range(1000):
            call(row)
        figures = []
        for _ in range(rounds):
            begun = time.process_time()
            for _ in range(CALLS):
                call(row)
            figures.append((time.process_time() - begun) / CALLS * 1e6)
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
