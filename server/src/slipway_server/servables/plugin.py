"""Versions that a plug-in loads and runs, behind the contract of every loaded version."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from google.protobuf.message import Message

from slipway_server.errors import Code, ServingError, deadline_exceeded
from slipway_server.plugins import api
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec
from slipway_server.servables.signature_def import as_signature_def

_PREDICT: Final = "tensorflow/serving/predict"
_STRING: Final = "string"

_log = structlog.get_logger("slipway_server.plugin")


class PluginModel:
    """One loaded version.

    Attributes:
        plugin: its name.
        signatures: by key.
        signature_defs: the same as TensorFlow's messages, for the metadata API.
        example_signatures: always empty.

    Args:
        name: of the plug-in.
        servable: what it has loaded.

    Raises:
        ServingError: INTERNAL; its signatures are not what signatures have to be.
    """

    def __init__(self, name: str, servable: api.Servable) -> None:
        self.plugin = name
        self._servable = servable
        self.signatures: Mapping[str, Signature] = _signatures(name, servable)
        self.signature_defs: Mapping[str, Message] = {
            key: as_signature_def(one) for key, one in self.signatures.items()
        }
        self.example_signatures: Mapping[str, Signature] = {}

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,
    ) -> list[Array]:
        """Run a signature; one array for each of `outputs`.

        Raises:
            ServingError: what the plug-in says; UNIMPLEMENTED for a signature that was made of others; INTERNAL when it
                raises anything else, or answers otherwise than its signature says.
        """
        if self.signatures.get(signature.key) is not signature:
            raise ServingError(
                Code.UNIMPLEMENTED, f"Plug-in {self.plugin} cannot run several signatures at once"
            )
        try:
            answer = self._servable.run(signature.key, inputs, deadline)
        except ServingError:
            raise
        except TimeoutError:
            raise deadline_exceeded() from None
        except Exception as error:
            _log.exception("a servable plug-in failed", plugin=self.plugin, signature=signature.key)
            raise self._wrong(f"failed: {type(error).__name__}: {error}") from error
        return [self._output(signature, alias, answer) for alias in outputs]

    def close(self) -> None:
        """Release everything. Nobody uses the version any more."""
        try:
            self._servable.close()
        except Exception:  # noqa: BLE001 - its memory is gone with the last reference
            _log.exception("a servable plug-in failed to close", plugin=self.plugin)

    def _output(self, signature: Signature, alias: str, answer: object) -> Array:
        if not isinstance(answer, Mapping) or alias not in answer:
            raise self._wrong(f"did not return output {alias} of signature {signature.key}")
        value = answer[alias]
        spec = signature.outputs[alias]
        if not isinstance(value, np.ndarray) or DType.of_array(value) is not spec.dtype:
            kind = (
                f"an array of {value.dtype}"
                if isinstance(value, np.ndarray)
                else type(value).__name__
            )
            raise self._wrong(
                f"returned {kind} for output {alias} of signature {signature.key}, which has dtype {spec.dtype.label}"
            )
        if not _fits(value.shape, spec.shape):
            raise self._wrong(
                f"returned shape {list(value.shape)} for output {alias} of signature {signature.key}, which has shape "
                f"{list(spec.shape or ())}"
            )
        return value

    def _wrong(self, what: str) -> ServingError:
        return ServingError(Code.INTERNAL, f"Plug-in {self.plugin} {what}")


class PluginLoader:
    """Loads and unloads versions through a plug-in (`core.managed_version.Loader`).

    Args:
        name: of the plug-in.
        load: its function.
    """

    def __init__(self, name: str, load: Callable[[str, int, Path], api.Servable]) -> None:
        self._name = name
        self._load = load

    def load(self, model: str, version: int, path: str) -> PluginModel:
        """Load a version.

        Raises:
            ServingError: what the plug-in says; FAILED_PRECONDITION when it raises anything else.
        """
        try:
            return PluginModel(self._name, self._load(model, version, Path(path)))
        except ServingError:
            raise
        except Exception as error:
            _log.exception("a servable plug-in failed to load", plugin=self._name, path=path)
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Plug-in {self._name} failed to load {path}: {type(error).__name__}: {error}",
            ) from error

    def unload(self, content: PluginModel) -> None:
        """Release what `load` returned."""
        content.close()


def _fits(shape: tuple[int, ...], declared: tuple[int, ...] | None) -> bool:
    """Whether an array has a declared shape.

    >>> _fits((3, 2), (-1, 2)), _fits((3,), (-1, 2)), _fits((), None)
    (True, False, True)
    """
    if declared is None:
        return True
    return len(shape) == len(declared) and all(
        size in {-1, found} for found, size in zip(shape, declared, strict=True)
    )


def _signatures(name: str, servable: api.Servable) -> dict[str, Signature]:
    try:
        return {
            key: Signature(key, _PREDICT, _specs(one.inputs), _specs(one.outputs))
            for key, one in servable.signatures.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ServingError(
            Code.INTERNAL, f"Plug-in {name} has unusable signatures: {error}"
        ) from error


def _specs(tensors: Mapping[str, api.Tensor]) -> dict[str, TensorSpec]:
    return {
        alias: TensorSpec(f"{alias}:0", _dtype(alias, tensors[alias].dtype), tensors[alias].shape)
        for alias in sorted(tensors)
    }


def _dtype(alias: str, name: str) -> DType:
    found = DType.STRING if name == _STRING else DType.of_kind(np.dtype(name))
    if found is DType.OTHER or (found is DType.STRING and name != _STRING):
        raise ValueError(
            f"dtype {name} of {alias} is neither string nor a type that requests can have"
        )
    return found
