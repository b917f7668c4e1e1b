"""`typing.override` for Python 3.11, at no cost when the process starts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: object) -> object:
        """Mark a method that takes the place of its base class's."""
        return method


__all__ = ["override"]
