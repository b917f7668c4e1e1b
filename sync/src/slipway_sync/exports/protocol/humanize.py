"""Sizes and rates, as people read them: decimal units, as `s3 ls` and disks are sold."""

from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP: Final = 1000
_ROUND_FROM: Final = 10


def size(count: float) -> str:
    """A number of bytes.

    >>> size(0), size(999), size(1_234_000), size(180_400_000), size(2_000_000_000)
    ('0 B', '999 B', '1.2 MB', '180 MB', '2.0 GB')
    """
    return f"{_scaled(count, _unit(count))} {_UNITS[_unit(count)]}"


def part_of(count: float, total: float) -> str:
    """A part of a whole, both in the unit of the whole.

    >>> part_of(1_240_000_000, 2_000_000_000), part_of(0, 500), part_of(9_000, 2_000_000)
    ('1.2/2.0 GB', '0/500 B', '0.0/2.0 MB')
    """
    unit = _unit(total)
    digits = 1 if unit and round(total / _STEP**unit, 1) < _ROUND_FROM else 0
    return f"{count / _STEP**unit:.{digits}f}/{total / _STEP**unit:.{digits}f} {_UNITS[unit]}"


def _unit(count: float) -> int:
    """Index of the largest unit of which there is one, as the number will be rounded."""
    unit = 0
    while unit + 1 < len(_UNITS) and round(count / _STEP**unit) >= _STEP:
        unit += 1
    return unit


def _scaled(count: float, unit: int) -> str:
    scaled = count / _STEP**unit
    return f"{scaled:.1f}" if unit and round(scaled, 1) < _ROUND_FROM else f"{scaled:.0f}"
