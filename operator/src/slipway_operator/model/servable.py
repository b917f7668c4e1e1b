"""A servable: a version of the model, rendered from one set of inputs."""

from dataclasses import dataclass

from slipway_operator.api.names import servable_id


@dataclass(frozen=True, slots=True)
class Servable:
    """A version rendered from one set of inputs.

    Attributes:
        key: Eight hexadecimal digits over the inputs.
        directory: The version directory's own spelling in the source.
    """

    version: int
    directory: str
    revision: str
    key: str

    @property
    def id(self) -> str:
        """As a label value."""
        return servable_id(self.version, self.key)
