"""Runs a program and writes down what it took: `launch.py RESULT COMMAND…`, with `python -I -S`.

A process's peak memory counts what its parent had when it was made from it. So the parent is this small one.
"""

import json
import os
import sys
import time

if __name__ == "__main__":
    result, command = sys.argv[1], sys.argv[2:]
    begun = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(pid, 0)
    found = {
        "seconds": time.monotonic() - begun,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss / 1024,
        "code": os.waitstatus_to_exitcode(status),
    }
    with open(result, "w") as out:  # noqa: PTH123 - a module less
        json.dump(found, out)
