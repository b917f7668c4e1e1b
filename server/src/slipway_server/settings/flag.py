"""What a flag is. Pure."""

from dataclasses import dataclass
from enum import Enum

Value = bool | int | float | str


class Support(Enum):
    """What a flag does here."""

    WORKS = "works"
    LATER = "is accepted, but has no effect in this version of slipway-server"
    MEANINGLESS = "is accepted for compatibility and has no effect in slipway-server"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        default: its value unless given; its Python type is the flag's type.
        wide: whether an integer has 64 instead of 32 bits.
        by_machine: how the default follows from the machine, when it does.
        bare: the value that `--name` alone stands for; none by default, `true` for booleans.
    """

    name: str
    default: Value
    usage: str
    support: Support = Support.WORKS
    wide: bool = False
    bare: str = ""
    by_machine: str = ""
