"""Puts the parts together: source → manager → serving map → predictor → front ends. Imports TensorFlow."""

import gc
import os
import time
from collections.abc import Callable
from typing import Final

import structlog

from slipway_server.core.manager import AspiredVersion, Bounds, Manager, RetryRule
from slipway_server.core.policies import POLICIES
from slipway_server.core.serving_map import ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.errors import Code
from slipway_server.frontends.model_config import read_model_config, single_model
from slipway_server.frontends.rest.api import ApiSettings, RestApi
from slipway_server.frontends.rpc.service import Method, Services
from slipway_server.frontends.telemetry import CONTENT_TYPE, Telemetry
from slipway_server.inference.predictor import Predictor
from slipway_server.loading import guarded, make_loader
from slipway_server.readiness import Report, report
from slipway_server.savedmodel.served_model import ServedModel
from slipway_server.settings import Settings
from slipway_server.storage.source import FileSystemSource, VersionDirectory

_log = structlog.get_logger("slipway_server")

# The first words are TensorFlow Serving's and stay as they are: clients match them.
_VERSION_HINT: Final = (
    ". This pod serves other versions; under Slipway each version has its own Service: ask NAME-vN, where NAME is the "
    "Model resource"
)
_UNDECIDED: Final = frozenset({Availability.START, Availability.LOADING, Availability.AVAILABLE})


class Assembly:
    """The server behind its ports.

    Args:
        failed_for_good: told in one sentence that a model has no version left which could be loaded.
        changed: called after every change of a version's state.

    Raises:
        ServingError: the configuration cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        failed_for_good: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        configs = (
            read_model_config(settings.model_config_file)
            if settings.model_config_file
            else single_model(settings.model_name, settings.model_base_path)
        )
        self._settings = settings
        self._failed_for_good = failed_for_good
        self._changed = changed
        self.models = tuple(config.name for config in configs)
        self._monitor = StateMonitor()
        self._telemetry = Telemetry(frozenset(self.models).__contains__)
        serving: ServingMap[ServedModel] = ServingMap(
            _VERSION_HINT if "KUBERNETES_SERVICE_HOST" in os.environ else ""
        )
        serving.set_labels({config.name: config.labels for config in configs})
        self._manager: Manager[ServedModel] = Manager(
            guarded(make_loader(settings), settings),
            serving,
            self._monitor,
            POLICIES[settings.policy],
            retry=RetryRule(settings.max_load_retries, settings.load_retry_interval),
            bounds=Bounds(settings.load_threads),
        )
        self._source = FileSystemSource(
            configs,
            self._aspire,
            interval=settings.poll_wait,
            keep_last=settings.keep_last,
            failed=self._nothing_found,
        )
        predictor = Predictor(serving, check_methods=settings.check_method_names)
        self.rest_api = RestApi(
            predictor,
            self._monitor,
            self._telemetry,
            ApiSettings(settings.rest_max_decompressed, settings.cors),
        )
        self.rpc_methods: dict[str, Method] = Services(
            predictor, self._monitor, self._telemetry, tensor_content=settings.tensor_content
        ).methods()
        self._loading_since: dict[tuple[str, int], float] = {}
        self._monitor.listen(self._on_state)
        # What the imports left behind lives as long as the process; the collector need not look at it again, which
        # would stall requests for a tenth of a second each time.
        gc.collect()
        gc.freeze()

    def start(self) -> None:
        """Begin to look for versions and to load them."""
        self._manager.start()
        self._source.start()

    def stop(self) -> None:
        """Look for nothing new and decide nothing more; what is loaded answers until the process ends."""
        self._source.stop()
        self._manager.stop()

    def report(self, *, draining: bool) -> Report:
        """Judge readiness."""
        states = {model: self._monitor.of(model) for model in self.models}
        troubles = {model: self._source.trouble(model) for model in self.models}
        return report(states, troubles, started=True, draining=draining)

    def metrics(self) -> tuple[str, bytes]:
        """Return content type and text of the metrics page."""
        return CONTENT_TYPE, self._telemetry.text()

    def _aspire(self, model: str, versions: tuple[VersionDirectory, ...]) -> None:
        self._manager.aspire(
            model, [AspiredVersion(one.version, one.path, one.fingerprint) for one in versions]
        )

    def _nothing_found(self, model: str, sentence: str) -> None:
        # With one look only (poll wait 0) nothing can change any more.
        if self._settings.poll_wait == 0:
            self._failed_for_good(sentence)
        _ = model

    def _on_state(self, state: VersionState) -> None:
        self._telemetry.state(state.model, state.version, int(state.availability))
        self._time_load(state)
        self._changed()
        if state.availability is Availability.END and state.error is not None:
            others = self._monitor.of(state.model)
            if not any(other.availability in _UNDECIDED for other in others):
                self._failed_for_good(
                    f"Version {state.version} of model {state.model} cannot be loaded: {state.error}"
                )

    def _time_load(self, state: VersionState) -> None:
        key = (state.model, state.version)
        if state.availability is Availability.LOADING:
            self._loading_since.setdefault(key, time.monotonic())
        elif (since := self._loading_since.pop(key, None)) is not None:
            code = state.error.code if state.error else Code.OK
            self._telemetry.loaded(state.model, time.monotonic() - since, code.name)
