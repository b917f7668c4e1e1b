"""Puts the parts together: source → manager → serving map → predictor → front ends. Imports TensorFlow."""

import gc
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

import structlog

from slipway_server.app.batches import batch_observers, native_queues
from slipway_server.app.profiler import start_profiler
from slipway_server.app.readiness import Report, report
from slipway_server.app.startup import Startup
from slipway_server.control.config_file import ConfigFile
from slipway_server.control.model_config import model_configs, read_model_config, single_model
from slipway_server.control.model_roots import ModelRoots
from slipway_server.control.platforms import PLATFORMS
from slipway_server.control.reload import ConfiguredModels, ReloadRule
from slipway_server.core.managed_version import AspiredVersion, Loader
from slipway_server.core.manager import Manager
from slipway_server.core.plugin_policy import policy_named
from slipway_server.core.resources import estimate
from slipway_server.core.serving_map import ServingMap
from slipway_server.core.states import Availability, StateMonitor, VersionState
from slipway_server.errors import Code, ServingError
from slipway_server.frontends.access_log import AccessLogMode, AccessLogRule
from slipway_server.frontends.http.compression import compressed
from slipway_server.frontends.http.cors import preflight
from slipway_server.frontends.http.messages import HttpHandler, HttpRequest, HttpResponse
from slipway_server.frontends.native.versions import NativeLoader, NativeVersions
from slipway_server.frontends.oip.grpc_service import OIP_STATUS_METHODS, GrpcInferenceService
from slipway_server.frontends.oip.models import OipModels
from slipway_server.frontends.oip.rest import OipRest
from slipway_server.frontends.request_log.predictor import LoggedPredictor
from slipway_server.frontends.request_log.sampler import RequestLog
from slipway_server.frontends.request_observers import RequestObservers
from slipway_server.frontends.rest.api import RestApi
from slipway_server.frontends.rest.json_body import BodyLimits, JsonBodies
from slipway_server.frontends.room import Room
from slipway_server.frontends.rpc.reflection import reflection_streams
from slipway_server.frontends.rpc.reload import ReloadCallers, ReloadMethod
from slipway_server.frontends.rpc.service import RELOAD_METHODS, STATUS_METHODS, Services
from slipway_server.loading.chain import guarded, make_loader
from slipway_server.loading.platforms import PlatformLoader
from slipway_server.observability.load_metrics import InFlight, LoadMetrics
from slipway_server.observability.run_metrics import RunMetrics
from slipway_server.observability.telemetry import CONTENT_TYPE, Telemetry
from slipway_server.observability.tracing import TracedRuns, open_tracing
from slipway_server.observability.warmup_metrics import WarmUpMetrics
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.spare_memory import SpareMemory
from slipway_server.settings.command_line import version
from slipway_server.settings.server import Settings
from slipway_server.storage.directories import file_bytes
from slipway_server.storage.file_system_source import FileSystemSource
from slipway_server.storage.plugin_source import PluginSources
from slipway_server.storage.records import RecordWriter
from slipway_server.storage.source import ModelConfig, VersionDirectory, VersionSource
from slipway_server.tensorflow_library.lean_import import c_api_library

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
        failed_to_start: told why the server cannot begin to serve.
        changed: called after every change of a version's state, and of the models that are configured.
        waiting: protocol → requests that wait for a thread.

    Raises:
        ServingError: the configuration cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        failed_for_good: Callable[[str], None],
        failed_to_start: Callable[[ServingError], None],
        changed: Callable[[], None],
        waiting: Callable[[], Mapping[str, int]],
        native: NativeVersions | None = None,
    ) -> None:
        self._settings = settings
        self._paths: dict[tuple[str, int], str] = {}
        # Also of models that are gone, whose versions may still be loading.
        self._platforms: dict[str, str] = {}
        self._failed_for_good = failed_for_good
        self._failed_to_start = failed_to_start
        self._changed = changed
        rules = settings.model_management
        known: set[str] = set()
        self._had_models = False
        self._roots = ModelRoots(rules.model_roots)
        self._monitor = StateMonitor()
        self._tracing = open_tracing(os.environ, version())
        self._observers = RequestObservers(
            AccessLogRule(AccessLogMode(settings.access_log), settings.access_log_sampling),
            self._tracing,
        )
        self._telemetry = Telemetry(
            known.__contains__,
            ended=self._observers.ended,
            outside=native.counts if native else tuple,
        )
        self._request_log = RequestLog(
            self._telemetry.registry,
            open_file=RecordWriter,
            max_bytes=settings.request_log_max_bytes,
            random=native.chance(random.random) if native else random.random,
        )
        self._startup = Startup(self._monitor.of)
        serving: ServingMap[ServedModel] = ServingMap(
            _VERSION_HINT if "KUBERNETES_SERVICE_HOST" in os.environ else "",
            self._startup.refusal,
            native,
        )
        loader = self._loader(settings, native)
        self._native = native
        self._manager: Manager[ServedModel] = Manager(
            loader,
            serving,
            self._monitor,
            policy_named(rules.policy),
            retry=rules.retry,
            bounds=rules.bounds,
            measure=file_bytes,
        )
        self._plugin_sources = PluginSources(rules.source_directory)
        self._source: VersionSource = FileSystemSource(
            (),
            self._aspire,
            interval=rules.poll_wait,
            keep_last=rules.keep_last,
            failed=self._nothing_found,
            follow_links=rules.follow_links,
            plugins=self._plugin_sources,
        )
        self._loads = LoadMetrics(
            self._telemetry.registry,
            estimated=lambda path: estimate(file_bytes(path)),
            clock=time.monotonic,
        )
        # Before the models listen: whoever waits for a reload finds health and metrics up to date.
        self._monitor.listen(self._on_state)
        self._models = ConfiguredModels(
            self._source,
            serving,
            self._monitor,
            ReloadRule(rules.labels, rules.reload_timeout, rules.fail_without_versions),
            changed=lambda names: self._configured(known, names),
        )
        self._labels = serving.labels
        self._config_file = ConfigFile(
            self._read_config,
            lambda: self._models.configs,
            self._models.apply,
            rules.config_poll if rules.config_file else 0,
        )
        if (configs := self._read_config()) is not None:
            self._models.apply(configs)
        self._first = self._models.names
        self._startup.begin(self._first)
        waits = settings.exit_after_load or not rules.open_ports_at_once
        self._first_waiter = self._models.waiter(self._first if waits else ())
        runs = RunMetrics(self._telemetry.registry, outside=native.counts if native else tuple)
        predictor = LoggedPredictor(
            serving,
            self._request_log,
            check_methods=settings.check_method_names,
            observer=TracedRuns(runs, self._tracing) if self._tracing else runs,
        )
        InFlight(self._telemetry.registry, serving.users, waiting)
        oip = OipModels(predictor, self._monitor, serving.versions)
        parsing = Room(settings.rpc_memory.parsing)
        bodies = JsonBodies(
            BodyLimits(
                settings.rest_max_decompressed, settings.rest_max_values, settings.rest_max_depth
            )
        )
        self.rest_api = self._observers.rest(
            _by_path(
                RestApi(
                    predictor,
                    self._monitor,
                    self._telemetry,
                    bodies,
                    lambda: self._models.names,
                    strict_types=settings.strict_types,
                ),
                OipRest(oip, self._telemetry, bodies),
            )
        )
        self.rpc_methods = self._observers.rpc(
            {
                **Services(
                    predictor,
                    self._monitor,
                    self._telemetry,
                    parsing=parsing,
                    reload=ReloadMethod(
                        self._models, self._roots, self._telemetry.registry, fixed=self._fixed()
                    ),
                    reload_callers=ReloadCallers(rules.reload_rpc),
                    tensor_content=settings.tensor_content,
                    strict_types=settings.strict_types,
                ).methods(),
                **GrpcInferenceService(oip, self._telemetry, parsing, version()).methods(),
            }
        )
        self.rpc_questions = STATUS_METHODS | OIP_STATUS_METHODS
        self.rpc_changes = RELOAD_METHODS
        self.rpc_streams = reflection_streams()
        # What the imports left behind lives as long as the process; the collector need not look at it again, which
        # would stall requests for a tenth of a second each time.
        gc.collect()
        gc.freeze()

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the configured models."""
        return self._models.names

    def start(self) -> None:
        """Begin to look for versions and to load them.

        Raises:
            OSError: the profiler's port cannot be listened on.
        """
        if self._settings.profiler_port:
            start_profiler(self._settings.profiler_port)
        self._manager.start()
        self._source.start()
        self._config_file.start()
        SpareMemory().watch()

    def wait_for_first_models(self) -> None:
        """Wait until it is known of each model of the start whether it will answer.

        Raises:
            ServingError: UNKNOWN; some will not.
        """
        self._first_waiter.wait(None, noun="servable(s)")

    def stop(self) -> None:
        """Look for nothing new and decide nothing more; what is loaded answers until the process ends."""
        self._config_file.stop()
        self._source.stop()
        self._manager.stop()

    def close(self) -> None:
        """Write what the logs still hold; called when no request is left."""
        self._request_log.close()
        self._observers.close()
        self.remove_fetched()

    def remove_fetched(self) -> None:
        """Remove what plug-ins have fetched into a temporary directory."""
        self._plugin_sources.remove_temporary()

    def _configured(self, known: set[str], names: Iterable[str]) -> None:
        known.update(names)
        self._startup.configured(names)
        self._platforms.update({one.name: one.platform for one in self._models.configs})
        self._had_models = self._had_models or bool(known)
        self._roots.trust_first(self._models.configs)
        logged = {one.name: one.logging for one in self._models.configs if one.logging is not None}
        self._request_log.configure(logged)
        if self._native is not None:
            self._native.sample({model: rule.sampling for model, rule in logged.items()})
        # A model without any version comes and goes without a change of state.
        self._changed()

    def report(self, *, draining: bool) -> Report:
        """Return which models answer, and why the server is not ready when it is not."""
        states = {model: self._monitor.of(model) for model in self.models}
        troubles = {model: self._source.trouble(model) for model in self.models}
        found = report(
            states, troubles, started=True, draining=draining, had_models=self._had_models
        )
        return replace(found, labels={model: of for model, of in self._labels().items() if of})

    def metrics(self) -> tuple[str, bytes]:
        """Return content type and text of the metrics page."""
        return CONTENT_TYPE, self._telemetry.text()

    def _loader(self, settings: Settings, native: NativeVersions | None) -> Loader[ServedModel]:
        registry, observed = self._telemetry.registry, self._observers.any
        # Where requests are observed, Python answers them all, and batches them.
        queues = native_queues(settings, wanted=native is not None and not observed)
        batches = batch_observers(settings, registry, self._tracing, queues)
        loader = make_loader(settings, batches, WarmUpMetrics(registry), queues)
        loader = PlatformLoader(guarded(loader, settings), self._plugin_of, settings.load_timeout)
        if native is None:
            return loader
        native.watch(registry)
        return _natively(loader, native, settings, observed=observed)

    def _aspire(self, model: str, versions: tuple[VersionDirectory, ...]) -> None:
        self._paths.update({(model, one.version): one.path for one in versions})
        self._manager.aspire(
            model, [AspiredVersion(one.version, one.path, one.fingerprint) for one in versions]
        )

    def _plugin_of(self, model: str) -> str:
        platform = self._platforms.get(model, "")
        return "" if platform in PLATFORMS else platform

    def _single(self) -> tuple[ModelConfig, ...]:
        rules = self._settings.model_management
        return single_model(rules.model_name, rules.model_base_path, rules.model_platform)

    def _fixed(self) -> tuple[ModelConfig, ...]:
        """Return the models that a reload must leave as they are: the command line's, unless everybody may reload."""
        rules = self._settings.model_management
        if rules.config_file or rules.reload_rpc == ReloadCallers.ON:
            return ()
        return self._single()

    def _read_config(self) -> tuple[ModelConfig, ...] | None:
        rules = self._settings.model_management
        if not rules.config_file:
            return self._roots.trust(self._single())
        message = read_model_config(rules.config_file)
        configs = model_configs(message, listed=self._models.configured)
        return None if configs is None else self._roots.trust(configs)

    def _nothing_found(self, model: str, trouble: ServingError) -> None:
        self._models.nothing_found(model, trouble)
        rules = self._settings.model_management
        self._startup.nothing_found(model, trouble, last=rules.poll_wait == 0)
        unanswered = trouble.code is Code.UNAVAILABLE  # That is not yet nothing.
        if (
            rules.fail_without_versions
            and not unanswered
            and model in self._first
            and not self._monitor.of(model)
        ):
            self._failed_to_start(trouble)
        # With one look only (poll wait 0) nothing can change any more.
        elif rules.poll_wait == 0:
            self._failed_for_good(trouble.message)

    def _on_state(self, state: VersionState) -> None:
        self._startup.hear(state)
        self._loads.changed(state, self._paths.get((state.model, state.version), ""))
        self._changed()
        if (
            state.availability is Availability.END
            and state.error is not None
            and state.model in self.models
        ):
            others = self._monitor.of(state.model)
            if not any(other.availability in _UNDECIDED for other in others):
                self._failed_for_good(
                    f"Version {state.version} of model {state.model} cannot be loaded: {state.error}"
                )


def _natively(
    loader: Loader[ServedModel], native: NativeVersions, settings: Settings, *, observed: bool
) -> Loader[ServedModel]:
    """Return a loader whose versions the native port runs itself, where it can."""
    native.bind(c_api_library())
    if not observed:  # the native port writes no access log and makes no spans
        native.enable(check_methods=settings.check_method_names)
    return NativeLoader(loader, native)


def _by_path(api: HttpHandler, oip: HttpHandler) -> HttpHandler:
    def answer(request: HttpRequest) -> HttpResponse:
        if request.method == "OPTIONS":
            return preflight(request)
        chosen = oip if request.target.startswith(b"/v2/") else api
        return compressed(request, chosen(request))

    return answer
