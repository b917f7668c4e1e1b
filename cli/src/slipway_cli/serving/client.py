"""One client of a model, whatever the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from slipway_cli.errors import UsageError
from slipway_cli.serving.address import ModelAddress
from slipway_cli.serving.instances import Question
from slipway_cli.serving.signature import Signatures


@dataclass(frozen=True, slots=True)
class Connection:
    """How a server is reached.

    Attributes:
        timeout: Seconds for one request with its answer.
        headers: Sent with every request: metadata, with gRPC.
        ca_file: PEM certificates to trust instead of the system's.
    """

    timeout: float = 60.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None

    def certificates(self) -> bytes | None:
        """Return the content of `ca_file`.

        Raises:
            UsageError: It cannot be read.
        """
        if self.ca_file is None:
            return None
        try:
            return self.ca_file.read_bytes()
        except OSError as error:
            raise UsageError(
                f"--ca-file {self.ca_file} cannot be read: {error.strerror}"
            ) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said.

    Attributes:
        predictions: One for each instance, in their order; None where whole tensors were asked for.
        outputs: These, as JSON has them.
        version: Which version it was; None where the protocol does not say.
    """

    predictions: Sequence[Any] | None
    outputs: Any = None
    version: int | None = None


class ModelClient(Protocol):
    """A model on a server; may be used by several threads at once.

    Every method raises UnavailableError when trying again later may help, and another CliError when
    it will not.
    """

    def signatures(self) -> tuple[int | None, Signatures]:
        """Return the version that answers, and its signatures."""

    def predict(self, question: Question, signature: str) -> Answer:
        """Ask; "" is the default signature."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""


def open_client(model: ModelAddress, connection: Connection) -> ModelClient:
    """Return a client; no request is made yet."""
    # Either library takes its time to be imported.
    if model.server.grpc:
        from slipway_cli.serving.rpc import GrpcClient  # noqa: PLC0415

        return GrpcClient(model, connection)
    from slipway_cli.serving.rest import RestClient  # noqa: PLC0415

    return RestClient(model, connection)
