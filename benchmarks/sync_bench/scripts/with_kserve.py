"""KServe's storage initializer, as its container runs it: `with_kserve.py URI DESTINATION`."""

from __future__ import annotations

import sys

from kserve_storage import Storage

if __name__ == "__main__":
    Storage.download(sys.argv[1], sys.argv[2])
