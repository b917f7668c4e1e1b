"""The agent's command line with the verification taken out: what s5cmd does, and nothing more.

No file is read again, hashed, compared with the index's checksums or brought to the disk, and the proofs before and
after are left out. Only for measuring the transfer beside programs that do none of it either.
"""

from __future__ import annotations

from slipway_sync.agent.__main__ import main
from slipway_sync.agent.fetch import fetch
from slipway_sync.agent.fetch.file_check import FileCheck
from slipway_sync.exports import Proof, Verdict


def _nothing_read(_check: FileCheck, _end: int) -> None:
    return


def _any_digest(_check: FileCheck, _seal: object = None) -> bytes:
    return bytes(32)


async def _trusted(*_: object, **__: object) -> Proof:
    return Proof(Verdict.COMPLETE, "Complete", "", "")


if __name__ == "__main__":
    for owner, name, stand_in in (
        (FileCheck, "read", _nothing_read),
        (FileCheck, "finish", _any_digest),
        (fetch, "prove", _trusted),
        (fetch, "_local_proof", _trusted),
    ):
        if not hasattr(owner, name):
            raise SystemExit(f"{owner} has no {name} any more: this script has to follow")
        setattr(owner, name, stand_in)
    main()
