"""Is the server ready, and if not, why? Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slipway_server.core.states import Availability, VersionState


@dataclass(frozen=True, slots=True)
class Report:
    """The answer of the readiness page.

    Attributes:
        models: whether each configured model has a version that answers.
        reasons: one sentence for each thing that is missing; empty when ready.
        labels: model → label → version, of the models that have labels.
    """

    models: Mapping[str, bool]
    reasons: tuple[str, ...]
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return not self.reasons


def report(
    states: Mapping[str, Sequence[VersionState]],
    troubles: Mapping[str, str],
    *,
    started: bool,
    draining: bool,
    had_models: bool = False,
) -> Report:
    """Judge the server.

    Args:
        states: configured model → the states of its versions, the highest number first.
        troubles: configured model → why discovery finds nothing to load, or an empty string.
        started: whether configuration and TensorFlow are there.
        draining: whether the server was told to stop.
        had_models: whether any model has ever been configured.
    """
    models = {
        model: any(state.availability is Availability.AVAILABLE for state in of)
        for model, of in states.items()
    }
    if draining:
        return Report(models, ("The server is draining: it is shutting down",))
    if not started:
        return Report(models, ("The server is starting",))
    if had_models and not models:
        return Report(models, ("No model is configured any more: the list of models is empty",))
    reasons = tuple(
        f"Model {model}: {_why(states[model], troubles.get(model, ''))}"
        for model, available in models.items()
        if not available
    )
    return Report(models, reasons)


def _why(states: Sequence[VersionState], trouble: str) -> str:
    if not states:
        return trouble or "no version has been found yet"
    newest = states[0]
    text = f"version {newest.version} is {newest.availability.name}"
    return f"{text} ({newest.error})" if newest.error else text
