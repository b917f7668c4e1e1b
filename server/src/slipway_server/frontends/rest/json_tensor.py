"""JSON → tensors: TensorFlow Serving's two request formats.

    row      {"instances": [value, …]}            one input: each element is one row of it
             {"instances": [{"a": …, "b": …}, …]} several inputs: each object has one row of every input
    column   {"inputs": value}                    one input
             {"inputs": {"a": value, "b": value}} several inputs
    binary   {"b64": "aGk="} in the place of a string

Values are nested lists. An input with a default may be left out, in the row format by all rows or by none; what may be
left out need not be named where a plain value can mean one input only.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from slipway_server.errors import ServingError, invalid_argument
from slipway_server.frontends.codec.json_string import is_b64
from slipway_server.frontends.codec.json_text import excerpt
from slipway_server.frontends.codec.json_value import MAX_RANK, ValueReader, shape_of
from slipway_server.servables.signature import Array, Signature

_ROW_RANK: Final = MAX_RANK - 1


class Format(Enum):
    """In which of the two formats a request came; the answer comes back in the same."""

    ROW = "instances"
    COLUMN = "inputs"


@dataclass(frozen=True, slots=True)
class PredictBody:
    """A decoded Predict request.

    Attributes:
        inputs: by alias.
        rows: the instances of the row format; 0 in the column format.
    """

    format: Format
    inputs: dict[str, Array]
    rows: int = 0


Readers = Mapping[str, ValueReader]
"""What reads each input of a signature, by alias."""


def signature_name(body: Any) -> str:
    """Return the signature that a parsed request body names; empty when it names none.

    Raises:
        ServingError: INVALID_ARGUMENT when the body is no object or the name no string.
    """
    if not isinstance(body, dict):
        raise invalid_argument(f"JSON Value: {excerpt(body)} Is not object")
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {excerpt(body)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def read_predict(
    body: dict[str, Any],
    signature: Signature,
    *,
    literals: bool = True,
    strings: int | None = None,
    strict: bool = True,
) -> PredictBody:
    """Turn a parsed request body into tensors.

    Args:
        body: the parsed JSON.
        signature: the one that the body names.
        literals: whether `true` or `false` may be among the values.
        strings: how many strings the text has at most, names of members included; None when nobody counted. When no
            value can be anything but a number, nobody looks at each of them.
        strict: as in `ValueReader`.

    Raises:
        ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for an element type that JSON cannot hold.
    """
    rows, columns = "instances" in body, "inputs" in body
    if rows and columns:
        raise invalid_argument(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if not rows and not columns:
        if signature.inputs.keys() == signature.defaults.keys():
            return PredictBody(Format.COLUMN, {})
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    values = body["instances"] if rows else body["inputs"]
    if not signature.inputs and not _names_nothing(values, rows=rows):
        name = body.get("signature_name", "") or "DEFAULT"
        raise invalid_argument(f"Failed to get input map for signature: {name}")
    known = len(body) + ("signature_name" in body) + _member_names(values)
    mixed = literals or strings is None or strings > known
    readers = {
        alias: ValueReader(spec.dtype, alias, mixed, strict)
        for alias, spec in signature.inputs.items()
    }
    if rows:
        inputs = read_rows(values, readers, signature.defaults.keys())
        return PredictBody(Format.ROW, inputs, len(values))
    return PredictBody(Format.COLUMN, read_columns(values, readers, signature.defaults.keys()))


def _names_nothing(values: Any, *, rows: bool) -> bool:
    """Whether a value has no input: `{}`, in the row format a list of such."""
    if rows:
        return isinstance(values, list) and all(value == {} for value in values)
    return bool(values == {})


def _member_names(values: Any) -> int:
    """Count the names of members that a well-formed value has around its tensors."""
    if isinstance(values, dict):
        return len(values)
    rows_of_objects = isinstance(values, list) and values and isinstance(values[0], dict)
    # Rows may leave out inputs with defaults, but all of them the same ones.
    return len(values) * len(values[0]) if rows_of_objects else 0


# ---- rows ------------------------------------------------------------------------------------------------------------


def read_rows(instances: Any, readers: Readers, optional: Collection[str] = ()) -> dict[str, Array]:
    """Return the inputs of `instances`, one row each, stacked by alias.

    Args:
        instances: the value of that key.
        readers: of all inputs of the signature.
        optional: aliases that have defaults.

    Raises:
        ServingError: as `read_predict`.
    """
    if not isinstance(instances, list):
        raise invalid_argument("Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument("No values in 'instances' array")
    if _is_row_object(instances[0]):
        return _read_objects(instances, readers, optional)
    alias = _only_input(
        readers,
        optional,
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map",
    )
    for number, instance in enumerate(instances):
        if _is_row_object(instance):
            raise invalid_argument(
                f"Expecting value/list but got object at item {number} of input list"
            )
    return {alias: _stacked(instances, readers[alias])}


def _read_objects(
    instances: list[Any], readers: Readers, optional: Collection[str]
) -> dict[str, Array]:
    given = instances[0].keys()
    sent = {alias: reader for alias, reader in readers.items() if alias in given}
    names = sent.keys()
    try:
        for number, instance in enumerate(instances):
            if not _is_row_object(instance):
                raise invalid_argument(
                    f"Expecting object but got list at item {number} of input list"
                )
            if instance.keys() != names:
                raise _other_keys(number, instance, names)
        if missing := readers.keys() - names - set(optional):
            raise _other_keys(0, instances[0], [one for one in readers if one in names | missing])
        return {
            alias: _stacked([instance[alias] for instance in instances], reader, alias)
            for alias, reader in sent.items()
        }
    except ServingError:
        # TensorFlow Serving goes through the rows one by one, and through each in the order of its keys.
        _refuse_first(instances, readers, set(optional))
        raise


def _refuse_first(instances: list[Any], readers: Readers, optional: set[str]) -> None:
    """Raise what TensorFlow Serving comes across first; return before a row that is no object or lacks keys."""
    shapes: dict[str, tuple[int, ...]] = {}
    names = instances[0].keys()
    for number, instance in enumerate(instances):
        if not _is_row_object(instance):
            return
        for alias, value in instance.items():
            try:
                if alias not in readers:
                    raise invalid_argument(f"JSON object: does not have named input: {alias:.256}")
                shapes[alias] = _row_shape(value, readers[alias], [], shapes.get(alias))
            except ServingError as error:
                raise _in_element(number, alias, error) from error
        if instance.keys() != names or readers.keys() - names - optional:
            return


def _stacked(rows: list[Any], reader: ValueReader, alias: str = "") -> Array:
    array = reader.quick(rows)
    if array is not None:
        return array
    shape_of(rows[0], _ROW_RANK)  # deeper than that, it is no matter of one row
    leaves: list[Any] = []
    shape: tuple[int, ...] | None = None
    for number, row in enumerate(rows):
        try:
            shape = _row_shape(row, reader, leaves, shape)
        except ServingError as error:
            raise _in_element(number, alias, error) from error
    return reader.array(leaves).reshape(len(rows), *(shape or ()))


def _row_shape(
    row: Any, reader: ValueReader, leaves: list[Any], wanted: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Append a row's values and return its shape, which must be that of the rows before."""
    before = len(leaves)
    shape = shape_of(row, _ROW_RANK)
    reader.collect(row, shape, leaves)
    if wanted is not None and shape != wanted:
        size, found = _size(wanted), len(leaves) - before
        if found != size:
            raise invalid_argument(f"Expecting tensor size: {size} but got: {found}")
        raise invalid_argument(
            f"Expecting shape {_shape_text(wanted)} but got: {_shape_text(shape)}"
        )
    return shape


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _shape_text(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(str(size) for size in shape) + "]"


def _in_element(number: int, alias: str, error: ServingError) -> ServingError:
    where = f" key: {alias:.256}" if alias else ""
    return invalid_argument(
        f"Failed to process element: {number}{where} of 'instances' list. Error: {error}"
    )


def _other_keys(number: int, instance: dict[str, Any], wanted: Collection[str]) -> ServingError:
    return invalid_argument(
        f"Failed to process element: {number} of 'instances' list. JSON object: {excerpt(instance)} "
        f"keys must be equal to: {','.join(wanted)}"
    )


def _is_row_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_b64(value)


# ---- columns ---------------------------------------------------------------------------------------------------------


def read_columns(inputs: Any, readers: Readers, optional: Collection[str] = ()) -> dict[str, Array]:
    """Return the inputs of `inputs`: whole tensors by alias. Arguments and errors are those of `read_rows`."""
    if isinstance(inputs, dict) and not is_b64(inputs):
        for alias in readers:
            if alias not in inputs and alias not in optional:
                raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        return {
            alias: reader.read(inputs[alias])
            for alias, reader in readers.items()
            if alias in inputs
        }
    alias = _only_input(
        readers,
        optional,
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
        "tensorinfo_map",
    )
    return {alias: readers[alias].read(inputs)}


def _only_input(readers: Readers, optional: Collection[str], refusal: str) -> str:
    """Return the alias of the one input that a plain value can mean."""
    if len(readers) == 1:
        return next(iter(readers))
    required = [alias for alias in readers if alias not in optional]
    if len(required) != 1:
        raise invalid_argument(refusal)
    return required[0]
