"""MultiInference: several classifications and regressions of the same Examples, in one run of the model. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.inference.classification import (
    INPUTS,
    Method,
    Result,
    check_method,
    result,
    wanted_outputs,
)
from slipway_server.servables.signature import Array, Signature, TensorSpec

_METHODS: Final = {method.value: method for method in Method}


@dataclass(frozen=True, slots=True)
class Task:
    """One of the things to compute.

    Attributes:
        signature: its key; never empty, `serving_default` is written out.
        method: the `method_name` as the client gave it.
    """

    model: str
    signature: str
    method: str


@dataclass(frozen=True, slots=True)
class _Part:
    method: Method
    outputs: Mapping[str, str]
    """Alias of the task's own signature → alias in the combined one."""


@dataclass(frozen=True, slots=True)
class MultiPlan:
    """How a request is answered: feed all inputs of `signature` the examples, run it for `outputs`, ask `results`."""

    signature: Signature
    outputs: tuple[str, ...]
    parts: tuple[_Part, ...]

    def results(self, examples: int, values: Mapping[str, Array]) -> list[Result]:
        """Return one result for each task, in their order.

        Raises:
            ServingError: INVALID_ARGUMENT when an output is not what its method needs.
        """
        return [
            result(
                part.method,
                examples,
                {alias: values[combined] for alias, combined in part.outputs.items()},
            )
            for part in self.parts
        ]


def plan(
    tasks: Sequence[Task], signatures: Mapping[str, Signature], *, check_methods: bool
) -> MultiPlan:
    """Combine tasks into one signature: the input of each, once where several share it, and every output that is read.

    Raises:
        ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for a method that cannot be combined.
    """
    chosen: dict[str, tuple[Signature, Method]] = {}
    for task in tasks:
        _check_model(task, tasks[0].model)
        if task.signature in chosen:
            raise invalid_argument(f"Duplicate evaluation of signature: {task.signature}")
        signature = signatures.get(task.signature)
        if signature is None:
            raise invalid_argument(
                f"Requested signature not found in model graph: {task.signature}"
            )
        method = _METHODS.get(task.method)
        if method is None:
            raise ServingError(
                Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method}"
            )
        if check_methods:
            check_method(signature, method)
        wanted_outputs(signature, method)
        chosen[task.signature] = (signature, method)
    return _combined(tuple(chosen.values()))


def _combined(chosen: Sequence[tuple[Signature, Method]]) -> MultiPlan:
    if len(chosen) == 1:
        ((signature, method),) = chosen
        outputs = wanted_outputs(signature, method)
        return MultiPlan(signature, outputs, (_Part(method, {alias: alias for alias in outputs}),))
    # In one order, whatever the tasks' own: models and batches keep something for each combination.
    ordered = sorted(chosen, key=lambda one: one[0].key)
    inputs: dict[str, TensorSpec] = {}
    combined: dict[str, TensorSpec] = {}
    parts: dict[Signature, _Part] = {}
    fed: set[str] = set()
    for signature, method in ordered:
        # TensorFlow 2 exports every signature with a placeholder of its own; older graphs have one for all.
        own = signature.inputs[INPUTS]
        if not own.tensor or own.tensor not in fed:
            inputs[f"{signature.key}/{INPUTS}"] = own
            fed.add(own.tensor)
        aliases = {alias: f"{signature.key}/{alias}" for alias in wanted_outputs(signature, method)}
        combined |= {to: signature.outputs[alias] for alias, to in aliases.items()}
        parts[signature] = _Part(method, aliases)
    if len(inputs) == 1:
        inputs = {INPUTS: next(iter(inputs.values()))}
    together = Signature("+".join(signature.key for signature, _ in ordered), "", inputs, combined)
    return MultiPlan(together, tuple(combined), tuple(parts[signature] for signature, _ in chosen))


def _check_model(task: Task, first: str) -> None:
    if not task.model:
        raise invalid_argument("Found ModelSpec with an empty model name.")
    if task.model != first:
        raise invalid_argument(
            "All ModelSpecs in a MultiInferenceRequest must access the same model name."
        )
