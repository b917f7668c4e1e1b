"""`record-checks`, from its arguments to the file. Imports TensorFlow."""

import hashlib
from pathlib import Path
from typing import Final

from slipway_server.core.managed_version import Loader
from slipway_server.core.serving_map import Servable
from slipway_server.errors import Code, ServingError, invalid_argument, not_found
from slipway_server.loading.chain import make_loader
from slipway_server.loading.checks import CHECKS
from slipway_server.loading.recorded_requests import RecordedRequests
from slipway_server.loading.warmup import REQUESTS
from slipway_server.recording.errors import RefusedError
from slipway_server.recording.files import MANIFEST, SIGNATURE, with_digest, write_whole
from slipway_server.recording.options import Options
from slipway_server.recording.recorder import Recorder
from slipway_server.recording.requests import read_requests
from slipway_server.servables.servable import ServedModel
from slipway_server.settings.server import Settings

_MAX_DIGITS: Final = 18


def record_checks(options: Options, settings: Settings) -> str:
    """Write the checks of an export, and return what to say about that: a line or more.

    Args:
        options: what to record.
        settings: of the server that is to serve the export, without the checks that it may have.

    Raises:
        ServingError: nothing was written; `RefusedError` when that is because of the export.
    """
    export = Path(options.export)
    out = Path(options.out) if options.out else export / CHECKS
    _check_places(export, out, options)
    requests_file = Path(options.requests) if options.requests else _own_requests(export)
    lines = _recorded(export, requests_file, options, settings)
    content = b"\n".join([*lines, b""])
    if not options.out:
        _make_directory(out.parent)
    write_whole(out, content)
    noun = "check" if len(lines) == 1 else "checks"
    said = f"Wrote {len(lines)} {noun} to {out} ({len(content)} bytes)\n"
    return said + _manifest(export, out, content, update=options.update_manifest)


def _check_places(export: Path, out: Path, options: Options) -> None:
    if not export.is_dir():
        what = "is no directory" if export.exists() else "does not exist"
        raise not_found(f"{export} {what}: name the directory of one version, such as models/sum/3")
    names = [path.name for path in export.iterdir()]
    if not names:
        raise RefusedError(Code.NOT_FOUND, f"{export} is empty: name the directory of a version")
    versions = [name for name in names if name.isascii() and name.isdigit()]
    if len(versions) == len(names):
        newest = max(versions, key=int)
        raise not_found(f"{export} is a model: name one of its versions, such as {export / newest}")
    if out.is_dir():
        raise invalid_argument(f"{out} is a directory: name a file with --out=FILE")
    if (out.exists() or out.is_symlink()) and not options.force:
        raise ServingError(
            Code.ALREADY_EXISTS,
            f"{out} exists: --force replaces it, and --out=FILE writes to another file",
        )
    if options.out and not out.parent.is_dir():
        raise not_found(
            f"{out.parent} is no directory: make it, or name another file with --out=FILE"
        )
    if options.update_manifest and not ((export / MANIFEST).is_file() and _in_export(export, out)):
        raise invalid_argument(
            f"--update_sha256sums needs a file {export / MANIFEST}, and checks at {export / CHECKS}: leave it out"
        )


def _own_requests(export: Path) -> Path:
    file = export / REQUESTS
    if not file.exists():
        raise not_found(
            f"{export} has no warm-up requests ({REQUESTS}): name a file with --requests=FILE"
        )
    return file


def _recorded(export: Path, file: Path, options: Options, settings: Settings) -> list[bytes]:
    number = export.resolve().name
    version = (
        int(number) if number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS else 1
    )
    model = export.resolve().parent.name or "model"
    loader = make_loader(settings)
    content = _loaded(loader, model, version, export)
    try:
        requests = RecordedRequests(
            Servable[ServedModel](model, version, content),
            check_methods=settings.check_method_names,
        )
        recorder = Recorder(requests, options.tolerances, options.left_out)
        return recorder.record(read_requests(file, content, strict_types=settings.strict_types))
    finally:
        loader.unload(content)


def _loaded(loader: Loader[ServedModel], model: str, version: int, export: Path) -> ServedModel:
    try:
        return loader.load(model, version, str(export.absolute()))
    except ServingError as error:
        message = " ".join(error.message.split())
        raise RefusedError(error.code, f"{export} cannot be loaded: {message}") from error


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise ServingError(
            Code.UNAVAILABLE, f"{directory} cannot be made: {error.strerror}"
        ) from error


def _in_export(export: Path, out: Path) -> bool:
    return out.absolute() == (export / CHECKS).absolute()


def _manifest(export: Path, out: Path, content: bytes, *, update: bool) -> str:
    """Return what becomes of the export's manifest, in a line; nothing where it has none."""
    manifest = export / MANIFEST
    if not manifest.is_file() or not _in_export(export, out):
        return ""
    signed = f", and sign it again ({SIGNATURE})" if (export / SIGNATURE).exists() else ""
    if not update:
        return f"{manifest} lacks the digest of these checks: make it anew{signed}, or use --update_sha256sums\n"
    try:
        old = manifest.read_bytes()
    except OSError as error:
        raise ServingError(
            Code.UNAVAILABLE, f"{manifest} cannot be read: {error.strerror}"
        ) from error
    write_whole(manifest, with_digest(old, CHECKS.as_posix(), hashlib.sha256(content).hexdigest()))
    return f"Updated {manifest}{signed and ': sign it again (' + SIGNATURE + ')'}\n"
