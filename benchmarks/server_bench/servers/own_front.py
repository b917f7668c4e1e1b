"""slipway-server's own gRPC front with a Predict that returns the request's bytes: what is left without the model."""

from __future__ import annotations

import sys
import threading

from slipway_server.frontends.rpc.transport.limits import RpcLimits
from slipway_server.frontends.rpc.transport.server import Address, RpcServer


def main(port: int, threads: int) -> None:
    server = RpcServer([Address(f"127.0.0.1:{port}")], RpcLimits(threads))
    server.serve(
        {"/tensorflow.serving.PredictionService/Predict": lambda request, _context: request}
    )
    server.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
