"""Does a request fit a signature? Pure; the sentences are TensorFlow Serving's."""

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.inference.classification import PREDICT_METHOD, Method
from slipway_server.servables.signature import Signature

_MAX_NAMED: Final = 100
"""A request may name a million inputs; nobody reads a sentence with all of them."""


def signature_not_found(name: str) -> ServingError:
    """Return the error for a signature that the model does not have."""
    return ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')


_PREDICT_METHODS: Final = (PREDICT_METHOD, Method.CLASSIFY.value, Method.REGRESS.value)


def check_predict_method(signature: Signature) -> None:
    """Refuse a signature whose export gives it a method that is none of TensorFlow Serving's.

    Raises:
        ServingError: INTERNAL.
    """
    if signature.method not in _PREDICT_METHODS:
        raise ServingError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{', '.join(_PREDICT_METHODS)}}}. "
            f"Was: {signature.method}",
        )


def check_inputs(signature: Signature, sent: Collection[str]) -> None:
    """Refuse a request whose input aliases are not the signature's; those with a default may be left out.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    wanted = signature.inputs.keys()
    if sent == wanted:
        return
    given = set(sent)
    missing = wanted - given - signature.defaults.keys()
    extra = given - wanted
    if len(given) != len(wanted) and (missing or extra):
        raise invalid_argument(
            f"input size does not match signature: {len(given)}!={len(wanted)} "
            f"len({_set(given)}) != len({_set(wanted)}). "
            f"Sent extra: {_set(extra)}. Missing but required: {_set(missing)}."
        )
    if extra:
        raise invalid_argument(
            f"input tensor alias not found in signature: {min(extra)}. "
            f"Inputs expected to be in the set {_set(wanted)}."
        )


def choose_outputs(signature: Signature, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the aliases to compute: those asked for, or all when none is.

    Raises:
        ServingError: INVALID_ARGUMENT for an unknown alias or one asked for twice.
    """
    if not asked:
        return tuple(signature.outputs)
    for index, alias in enumerate(asked):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_set(signature.outputs)}."
            )
        if alias in asked[:index]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return tuple(asked)


def _set(names: Collection[str]) -> str:
    if len(names) > _MAX_NAMED:
        return "{" + ",".join([*sorted(islice(names, _MAX_NAMED)), "..."]) + "}"
    return "{" + ",".join(sorted(names)) + "}"
