"""The status question, asked alike over gRPC and REST."""

from slipway_server.core.states import StateMonitor, VersionState
from slipway_server.errors import not_found


def model_states(
    monitor: StateMonitor, model: str, version: int | None
) -> tuple[VersionState, ...]:
    """Return the state of one version, or of all with the highest number first.

    Raises:
        ServingError: NOT_FOUND.
    """
    states = monitor.of(model)
    if version is not None:
        states = tuple(state for state in states if state.version == version)
        if not states:
            raise not_found(f"Could not find version {version} of model {model}")
    if not states:
        raise not_found(f"Could not find any versions of model {model}")
    return states
