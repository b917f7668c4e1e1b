"""How far recorded numbers may be off. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from slipway_server.errors import invalid_argument
from slipway_server.loading.comparison import Tolerance
from slipway_server.servables.dtypes import DType

EVERY: Final = ""
"""Stands for the outputs that are not named."""

_DEFAULTS: Final[Mapping[DType, Tolerance]] = {
    DType.DOUBLE: Tolerance(1e-8, 1e-6),
    DType.COMPLEX128: Tolerance(1e-8, 1e-6),
    DType.FLOAT: Tolerance(1e-5, 1e-3),
    DType.COMPLEX64: Tolerance(1e-5, 1e-3),
    DType.HALF: Tolerance(1e-3, 1e-2),
    DType.BFLOAT16: Tolerance(1e-2, 2e-2),
}
"""Some hundred times what the type rounds, few times for bfloat16: other processors add in another order."""
_UNORDERED: Final = frozenset({DType.STRING, DType.BOOL})


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What was asked for, by output; `EVERY` is for floating-point outputs that are not named.

    A number that is not given is that of the output's type.
    """

    absolute: Mapping[str, float] = field(default_factory=dict)
    relative: Mapping[str, float] = field(default_factory=dict)

    @property
    def outputs(self) -> frozenset[str]:
        """The outputs that are named."""
        return frozenset((self.absolute.keys() | self.relative.keys()) - {EVERY})

    def of(self, output: str, kind: DType) -> Tolerance:
        """Return the tolerance of an output.

        Raises:
            ServingError: INVALID_ARGUMENT when it was given one and can have none.
        """
        if kind in _UNORDERED:
            if output in self.outputs:
                raise invalid_argument(
                    f'Output "{output}" is of type {kind.label}, and cannot have a tolerance: '
                    f"it must be equal, or left out with --without_output={output}"
                )
            return Tolerance()
        default = _DEFAULTS.get(kind)
        every = EVERY if default is not None else output
        default = default or Tolerance()
        return Tolerance(
            self.absolute.get(output, self.absolute.get(every, default.absolute)),
            self.relative.get(output, self.relative.get(every, default.relative)),
        )
