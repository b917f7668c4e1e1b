"""Writes files whole or not at all, and the line of one in SHA256SUMS."""

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from slipway_server.errors import Code, ServingError

MANIFEST: Final = "SHA256SUMS"
SIGNATURE: Final = "SHA256SUMS.sig"

_HEX: Final = rb"[0-9A-Fa-f]{64}"


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file: whoever reads it meanwhile reads the old one or the new one.

    Raises:
        ServingError: UNAVAILABLE; nothing has changed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        try:
            with os.fdopen(file, "wb") as opened:
                with suppress(FileNotFoundError):
                    os.fchmod(file, stat.S_IMODE(path.stat().st_mode))
                opened.write(content)
                opened.flush()
                os.fsync(file)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ServingError(
            Code.UNAVAILABLE, f"{path} cannot be written: {error.strerror or error}"
        ) from error


def with_digest(manifest: bytes, name: str, sha256: str) -> bytes:
    r"""Return a manifest with a file's new digest, in the place of the old one or at the end; other lines stay.

    >>> with_digest(b"0" * 64 + b"  a\n", "b", "1" * 64).splitlines()[1][-4:]
    b'1  b'
    """
    escaped = re.escape(name.encode())
    old = re.compile(
        rb"\\?(?:%(hex)b [ *](?:\./)?%(name)b|SHA256 \((?:\./)?%(name)b\) = %(hex)b)\r?"
        % {b"hex": _HEX, b"name": escaped}
    )
    new = f"{sha256}  {name}".encode()
    lines = manifest.split(b"\n")
    places = [at for at, line in enumerate(lines) if old.fullmatch(line)]
    if places:
        lines[places[0]] = new
        for at in reversed(places[1:]):
            del lines[at]
    elif lines[-1]:
        lines += [new, b""]
    else:
        lines[-1:] = [new, b""]
    return b"\n".join(lines)
