"""On which thread a graph runs: the caller's, or those of TensorFlow's inter-op pool.

On the caller's thread a call begins at once, and many callers fill the processors by themselves; but a graph's branches
then run one after the other. Handing a graph to the pool costs some microseconds and pays for one that is wide: most
of its heavy operations could run side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from slipway_server.errors import invalid_argument

if TYPE_CHECKING:
    from tensorflow.core.framework import function_pb2, graph_pb2, node_def_pb2

# Where fewer processors are, there is nothing to gain that other requests do not use already.
_MIN_CPUS: Final = 4
# Twice as many heavy operations as the longest chain of them has: on average two could always run side by side.
_WIDE: Final = 2.0
_MIN_HEAVY: Final = 4
_HEAVY: Final = ("MatMul", "Conv", "Einsum", "LSTM", "GRU", "FFT", "Cholesky", "Svd")
# What is larger holds its weights as constants; reading it would stall requests under the interpreter's lock.
_MAX_GRAPH_BYTES: Final = 8 << 20
_BACK_EDGE: Final = "NextIteration"


class Choice(StrEnum):
    """What the flag says for a model, or for all."""

    AUTO = "auto"
    CALLER = "true"
    POOL = "false"


@dataclass(frozen=True, slots=True)
class ThreadRule:
    """Whether models run on their caller's thread.

    Attributes:
        default: for models not in `models`.
        cpus: processors of this machine.
    """

    default: Choice = Choice.AUTO
    models: Mapping[str, Choice] = field(default_factory=dict)
    cpus: int = 1

    def on_caller(self, model: str, graph: bytes | memoryview) -> bool:
        """Decide about a model with a serialized GraphDef."""
        choice = self.models.get(model, self.default)
        if choice is not Choice.AUTO:
            return choice is Choice.CALLER
        if self.cpus < _MIN_CPUS or len(graph) > _MAX_GRAPH_BYTES:
            return True
        from tensorflow.core.framework import graph_pb2  # noqa: PLC0415 - settings need no TensorFlow

        return not is_wide(graph_pb2.GraphDef.FromString(bytes(graph)))


def read_rule(text: str, cpus: int) -> ThreadRule:
    """Read a rule as its flag says it: `auto`, or with models of their own `auto,ranker=false`.

    >>> read_rule("true", 2).default.name
    'CALLER'

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    default = Choice.AUTO
    models: dict[str, Choice] = {}
    for word in filter(None, text.split(",")):
        model, equals, choice = word.rpartition("=")
        if choice not in set(Choice):
            raise invalid_argument(
                f"--run_on_caller_thread={text}: {choice} must be one of auto, false, true"
            )
        if equals:
            models[model] = Choice(choice)
        else:
            default = Choice(choice)
    return ThreadRule(default, models, cpus)


def is_wide(graph: graph_pb2.GraphDef) -> bool:
    """Whether so many of a graph's heavy operations are independent of each other that a pool pays."""
    work = _Measure({one.signature.name: one for one in graph.library.function}).of(graph.node)
    return work.heavy >= _MIN_HEAVY and work.heavy >= _WIDE * work.chain


@dataclass(frozen=True, slots=True)
class _Work:
    """How many heavy operations there are, and how many the longest chain of them has."""

    heavy: int = 0
    chain: int = 0


class _Measure:
    def __init__(self, functions: Mapping[str, function_pb2.FunctionDef]) -> None:
        self._functions = functions
        self._known: dict[str, _Work] = {}

    def of(self, nodes: Iterable[node_def_pb2.NodeDef]) -> _Work:
        by_name = {node.name: node for node in nodes}
        own = {name: self._of_node(node) for name, node in by_name.items()}
        chains: dict[str, int] = {}
        entered: set[str] = set()
        for start in by_name:
            # Not recursive: a chain may be as long as the graph.
            stack = [start]
            while stack:
                name = stack[-1]
                if name in chains:
                    stack.pop()
                    continue
                entered.add(name)
                sources = [one for one in _sources(by_name[name]) if one in by_name]
                # What was entered and has no chain yet lies below on the stack: a cycle, whose edge back counts not.
                missing = [one for one in sources if one not in chains and one not in entered]
                if missing:
                    stack.extend(missing)
                    continue
                longest = max((chains.get(one, 0) for one in sources), default=0)
                chains[name] = own[name].chain + longest
                stack.pop()
        return _Work(sum(work.heavy for work in own.values()), max(chains.values(), default=0))

    def _of_node(self, node: node_def_pb2.NodeDef) -> _Work:
        if any(word in node.op for word in _HEAVY):
            return _Work(1, 1)
        called = [
            self._of_function(attribute.func.name)
            for attribute in node.attr.values()
            if attribute.HasField("func")
        ]
        # Of the branches of an If one runs; of a While's body the first round stands for all.
        return max(called, key=lambda work: work.heavy, default=_Work())

    def _of_function(self, name: str) -> _Work:
        if name not in self._known:
            self._known[name] = _Work()  # a function that calls itself
            if name in self._functions:
                self._known[name] = self.of(self._functions[name].node_def)
        return self._known[name]


def _sources(node: node_def_pb2.NodeDef) -> list[str]:
    if node.op == _BACK_EDGE:
        return []
    return [name.removeprefix("^").partition(":")[0] for name in node.input]
