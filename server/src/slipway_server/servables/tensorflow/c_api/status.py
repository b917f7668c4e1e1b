"""`TF_Status`: what a call of the C API answers, as this server's error."""

from typing import Self

from slipway_server.errors import Code, ServingError
from slipway_server.servables.tensorflow.c_api.library import c_api


class Status:
    """A status to hand to a call; `check` afterwards. To be used in a `with` statement.

    Attributes:
        pointer: the `TF_Status*`.
    """

    __slots__ = ("_library", "pointer")

    def __init__(self) -> None:
        self._library = c_api()
        self.pointer: int = self._library.new_status()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.delete_status(self.pointer)

    def check(self) -> None:
        """Raise what the call has answered, unless it is OK.

        Raises:
            ServingError: TensorFlow's code and words.
        """
        if number := self._library.get_code(self.pointer):
            message = self._library.message(self.pointer).decode("utf-8", "replace")
            raise ServingError(_code(number), message)


def _code(number: int) -> Code:
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN
