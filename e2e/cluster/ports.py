"""Free TCP ports for servers that several test runs start side by side."""

import random
import socket

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): a client
# that keeps dialling a stopped server on a port of that range can end up connected to itself and
# hold the port. NodePorts (30000-32767) are left alone as well.
FIRST, LAST = 20000, 29999
ATTEMPTS = 200


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def free_ports(count: int, address: str = "127.0.0.1") -> tuple[int, ...]:
    """Distinct ports, free a moment ago; drawn at random so that parallel runs rarely meet."""
    found: list[int] = []
    draw = random.SystemRandom()
    for _ in range(ATTEMPTS * count):
        port = draw.randint(FIRST, LAST)
        if port not in found and is_free(port, address):
            found.append(port)
            if len(found) == count:
                return tuple(found)
    raise OSError(f"no {count} free TCP ports between {FIRST} and {LAST} on {address}")
