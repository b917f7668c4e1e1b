"""How the process ends: exit codes, and one sentence for what keeps it from starting. Pure."""

from collections.abc import Iterable
from enum import IntEnum

_UNAUTHORIZED = 401
_FORBIDDEN = 403


class ExitCode(IntEnum):
    """Exit codes of `slipway-operator`; docs/guide/install.md lists them."""

    STOPPED = 0
    """A signal asked it to stop."""
    FAILED = 1
    """Something that must not fail has failed, or the Lease is lost; a new process may do better."""
    USAGE = 2
    """The command line is wrong."""
    CLUSTER_UNAVAILABLE = 69
    """The API server does not answer."""
    ACCESS_DENIED = 77
    """The API server refuses the credentials."""
    UNUSABLE = 78
    """There is no cluster to work for, or a port or the CustomResourceDefinition is missing."""
    INTERRUPTED = 130
    """A second Ctrl-C ended it at once."""


class StartError(Exception):
    """The process cannot start; str() is one sentence: what is wrong, where, what to do.

    Attributes:
        code: What it exits with.
    """

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


def no_cluster(files: Iterable[str], why: str) -> StartError:
    """The error for a process that is in no pod and finds no usable kubeconfig.

    Args:
        files: Where one was looked for.
        why: What the Kubernetes client says.
    """
    return StartError(
        f"no cluster to work for: this is no pod with a ServiceAccount, and {', '.join(files)} is no usable "
        f"kubeconfig ({_line(why)}); set KUBECONFIG to the file of the cluster",
        ExitCode.UNUSABLE,
    )


def no_answer(host: str, status: int, why: str) -> StartError:
    """The error for the first request to the API server.

    Args:
        host: The URL of the API server.
        status: HTTP status; 0 when no answer came.
        why: What the server or the system says.
    """
    if status == _UNAUTHORIZED:
        return StartError(
            f"the API server {host} does not accept these credentials ({_line(why)}); renew those in the kubeconfig, "
            "or the ServiceAccount's token",
            ExitCode.ACCESS_DENIED,
        )
    if status == _FORBIDDEN:
        return StartError(
            f"the API server {host} allows these credentials too little ({_line(why)}); bind the ServiceAccount to the "
            "role of the chart",
            ExitCode.ACCESS_DENIED,
        )
    if status:
        return StartError(
            f"the API server {host} answered {status} ({_line(why)}); try again when it is well",
            ExitCode.CLUSTER_UNAVAILABLE,
        )
    return StartError(
        f"the API server {host} cannot be reached ({_line(why)}); check that the cluster runs and that the kubeconfig "
        "names it",
        ExitCode.CLUSTER_UNAVAILABLE,
    )


def no_port(port: int, why: str) -> StartError:
    """The error for a port that cannot be listened on."""
    return StartError(
        f"port {port} cannot be listened on ({_line(why)}); free it, or choose another with --port, --webhook-port or "
        "--ui-port",
        ExitCode.UNUSABLE,
    )


def _line(text: str) -> str:
    r"""Return a text as part of a sentence.

    >>> _line("no\n  file. ")
    'no file'
    """
    return " ".join(text.split()).rstrip(".")
