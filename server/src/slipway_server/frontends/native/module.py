"""The extension module, which an installation need not have."""

from typing import TYPE_CHECKING

from slipway_server.errors import Code, ServingError

if TYPE_CHECKING:
    from slipway_server import _native


def native_module() -> "type[_native.NativeFront]":
    """Return the class of the native gRPC port.

    Raises:
        ServingError: FAILED_PRECONDITION; this installation lacks the module.
    """
    try:
        from slipway_server._native import NativeFront  # noqa: PLC0415 - not every installation has it
    except ImportError as error:
        raise _lacking(error) from error
    return NativeFront


def native_rest_module() -> "type[_native.NativeRest]":
    """Return the class of the native REST port.

    Raises:
        ServingError: FAILED_PRECONDITION; this installation lacks the module.
    """
    try:
        from slipway_server._native import NativeRest  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise _lacking(error) from error
    return NativeRest


def _lacking(error: ImportError) -> ServingError:
    return ServingError(
        Code.FAILED_PRECONDITION,
        "--front=native needs the extension module slipway_server._native, which this installation lacks "
        f"({error}): build it from the sources with make setup, or use --front=python",
    )
