"""The files that the server needs under `--landlock`: its models, its own files, and what its libraries read. Pure.

What is left out matters as much: the environment in /proc/self/environ, where secrets are, other processes, homes,
temporary folders, and whatever else is mounted.
"""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from slipway_server.app.landlock import READ, RUN, WRITE, Access, Rule
from slipway_server.errors import invalid_argument
from slipway_server.settings.server import Settings
from slipway_server.storage.base_path import is_uri

_LIBRARIES: Final = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/opt/nvidia")
_SYSTEM: Final = (
    *(
        f"/etc/{name}"
        for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone")
    ),
    *(
        f"/etc/{name}"
        for name in ("hosts", "resolv.conf", "nsswitch.conf", "gai.conf", "host.conf")
    ),
    *(f"/etc/{name}" for name in ("ssl", "pki", "ca-certificates")),
    *(
        f"/proc/{name}"
        for name in ("cpuinfo", "meminfo", "stat", "version", "filesystems", "devices")
    ),
    *(f"/proc/{name}" for name in ("sys/vm", "sys/kernel", "driver")),
    # Of this process alone, and not its environment or memory.
    *(
        f"/proc/self/{name}"
        for name in ("auxv", "cgroup", "cmdline", "fd", "limits", "maps", "mountinfo")
    ),
    *(f"/proc/self/{name}" for name in ("net", "stat", "statm", "status", "task")),
    "/sys",
)
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random")
_TO_A_DEVICE: Final = Access.READ_FILE | Access.WRITE_FILE | Access.IOCTL_DEV
_MAKE_SOCKET: Final = Access.MAKE_SOCK | Access.REMOVE_FILE
_WRITABLE: Final = ":rw"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where this program lies.

    Attributes:
        prefixes: of Python and its environment.
        package: the folder in which the package is found.
        keras: Keras's settings, which are read where the whole of TensorFlow's package is imported.
        devices: of GPUs.
    """

    prefixes: tuple[str, ...]
    package: str
    keras: str = ""
    devices: tuple[str, ...] = ()


def rules(settings: Settings, installation: Installation) -> tuple[Rule, ...]:
    """Return what the server may open.

    Raises:
        ServingError: INVALID_ARGUMENT; the folders of the models are not known now, when they must be.
    """
    return (
        *(Rule(path, READ, required=True) for path in _models(settings)),
        *_further(settings.landlock_paths),
        *_own(settings),
        *(Rule(path, RUN) for path in (*_LIBRARIES, *installation.prefixes)),
        Rule(installation.package, READ),
        *([Rule(installation.keras, READ)] if installation.keras else []),
        *(Rule(path, READ) for path in _SYSTEM),
        *(Rule(path, _TO_A_DEVICE) for path in (*_DEVICES, *installation.devices)),
    )


def _models(settings: Settings) -> tuple[str, ...]:
    models = settings.model_management
    if models.model_roots:
        return models.model_roots
    if models.config_file:
        raise invalid_argument(
            "--landlock with --model_config_file needs --model_roots: what may be read is fixed at the start, and the "
            "file may change"
        )
    path = models.model_base_path.removeprefix("file://")
    if is_uri(path):
        if not models.source_directory:
            raise invalid_argument(
                f"--landlock with --model_base_path={path} needs --source_directory: where versions are fetched to is "
                "fixed at the start"
            )
        return ()
    return (path,)


def _further(paths: Iterable[str]) -> Iterator[Rule]:
    for path in paths:
        access = RUN | WRITE if path.endswith(_WRITABLE) else RUN
        yield Rule(path.removesuffix(_WRITABLE), access, required=True)


def _own(settings: Settings) -> Iterator[Rule]:
    """The files that flags name; those that are read again lie in folders in which others take their place."""
    for path in (
        settings.model_management.config_file,
        settings.ssl_config_file,
        settings.batching_parameters_file,
        settings.monitoring_config_file,
        settings.session_config_file,
    ):
        if path:
            yield Rule(_folder(path), READ)
    if settings.socket_path:
        yield Rule(_folder(settings.socket_path), _MAKE_SOCKET)
    if settings.model_management.source_directory:
        yield Rule(settings.model_management.source_directory, READ | WRITE, required=True)
    if settings.termination_log:
        yield Rule(settings.termination_log, Access.WRITE_FILE | Access.TRUNCATE)


def _folder(path: str) -> str:
    return posixpath.dirname(path) or "."
