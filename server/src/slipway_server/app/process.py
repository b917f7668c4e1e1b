"""The process: opens the ports, brings TensorFlow and the models up behind them, drains and stops.

ports open, /livez answers, /readyz says 503
→ TensorFlow loaded, methods in place, models loading
→ every configured model has a version: ready
→ SIGTERM: not ready at once; requests are answered while clients are asked to go elsewhere, until none is connected
→ no new request; those in flight finish → exit 0
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slipway_server.app.drain import Clients, Drain, DrainLimits
from slipway_server.app.ports import Pages, Ports
from slipway_server.app.readiness import Report
from slipway_server.app.startup_check import check_configuration
from slipway_server.errors import Code, ServingError
from slipway_server.frontends.http.messages import TEXT, HttpResponse
from slipway_server.settings.server import Settings
from slipway_server.tensorflow_library.lean_import import make_packages_known

if TYPE_CHECKING:
    from slipway_server.app.assembly import Assembly

STOP_GRACE_SECONDS: Final = 10.0
"""After the drain only stragglers are left; they get this long before they are cancelled."""

EXIT_OK: Final = 0
EXIT_REJECTED: Final = 65
EXIT_FAILED: Final = 255

_SECOND_INTERRUPT: Final = (
    "Requests are answered until every client has gone; a second Ctrl-C ends at once"
)
_TERMINATION_LOG_BYTES: Final = 4096
_TERMINATION_MESSAGE_CHARACTERS: Final = 1500


@dataclass(frozen=True, slots=True)
class _Signal:
    number: int


@dataclass(frozen=True, slots=True)
class _Exit:
    """The server cannot go on: why, and with which exit code."""

    code: int
    reason: str
    message: str


class Process:
    """One run of the server; `run` is called once, on the main thread.

    Args:
        flags_without_effect: (name, sentence) of the flags to mention in the log.
        landlock: the version of Landlock that restricts the process; 0 for none.
    """

    def __init__(
        self,
        settings: Settings,
        flags_without_effect: tuple[tuple[str, str], ...] = (),
        landlock: int = 0,
    ) -> None:
        self._settings = settings
        self._landlock = landlock
        self._flags_without_effect = flags_without_effect
        self._events: queue.SimpleQueue[_Signal | _Exit] = queue.SimpleQueue()
        pages = Pages(lambda: self._report().ready, _livez, self._readyz, self._metrics)
        self._ports = Ports(settings, pages, self._say_certificate)
        self._assembly: Assembly | None = None
        self._draining = False
        self._interrupts = 0
        self._stopping = False
        self._showing = threading.Lock()
        self._shown: AbstractSet[str] = frozenset()
        self._log: Any = None

    def run(self) -> int:
        """Serve until a signal or a failure; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        start = self._assemble
        try:
            check_configuration(self._settings, _tell, _warn)
            if self._settings.exit_after_load:
                self._set_up_log()
                start = self._load_once
            elif self._settings.model_management.open_ports_at_once:
                self._open_ports()
            else:
                self._set_up_log()
                start = self._assemble_first
        except OSError as error:
            return self._failed_start(ServingError(Code.UNKNOWN, str(error)))
        except ServingError as error:
            return self._failed_start(error)
        threading.Thread(target=self._start, args=(start,), name="start-up", daemon=True).start()
        match self._events.get():
            case _Exit() as end:
                return self._give_up(end)
            case _Signal() as received:
                return self._drain(received.number)

    # ---- start -------------------------------------------------------------------------------------------------

    def _open_ports(self) -> None:
        opened = self._ports.open()
        self._set_up_log()
        self._log.info("ports open", **opened)
        self._ports.watch_certificate()
        if self._settings.rest_port and self._settings.rest_port == self._settings.port:
            self._log.error("REST is disabled: its port is the gRPC port", port=self._settings.port)
        if self._ports.takes_over:
            self._log.warning(
                "UNIX socket taken over: another process listens on it and gets no new connections",
                path=self._settings.socket_path,
            )
        for name, sentence in self._flags_without_effect:
            self._log.warning("flag without effect", flag=name, message=sentence)

    def _set_up_log(self) -> None:
        import structlog  # noqa: PLC0415 - /livez need not wait for it

        from slipway_server import logs  # noqa: PLC0415 - likewise

        logs.configure(self._settings.log_level)
        self._log = structlog.get_logger("slipway_server")
        if self._landlock:
            self._log.info("files are restricted", landlock_version=self._landlock)

    def _say_certificate(self, sentence: str, used: bool) -> None:  # noqa: FBT001 - a callback
        (self._log.info if used else self._log.error)(sentence, file=self._settings.ssl_config_file)

    def _start(self, assemble: Callable[[], None]) -> None:
        try:
            started = time.monotonic()
            assemble()
            self._log.info(
                "started",
                seconds=round(time.monotonic() - started, 3),
                models=list(self._assembly.models if self._assembly else ()),
            )
        except OSError as error:
            self._failed_to_start(ServingError(Code.UNKNOWN, str(error)))
        except ServingError as error:
            self._failed_to_start(error)
        except Exception as error:  # noqa: BLE001 - reported, and the process ends
            self._log.exception("start failed")
            self._events.put(
                _Exit(EXIT_FAILED, "FailedToStart", f"{type(error).__name__}: {error}")
            )

    def _assemble(self) -> None:
        """Put the server behind its open ports and begin to load."""
        assembly = self._put_together()
        self._serve(assembly)
        assembly.start()

    def _assemble_first(self) -> None:
        """Open the ports only when every model has a version that answers, as TensorFlow Serving does."""
        assembly = self._put_together()
        assembly.start()
        assembly.wait_for_first_models()
        self._serve(assembly)
        self._open_ports()
        self._show_health()

    def _load_once(self) -> None:
        """Load every model, and end the process: no request ever comes."""
        assembly = self._put_together()
        assembly.start()
        try:
            assembly.wait_for_first_models()
        except ServingError as error:
            # The sentence about one model, which was told before, is the better one.
            self._failed_for_good(str(error))
            return
        self._events.put(
            _Exit(EXIT_OK, "Loaded", _loaded_sentence(assembly.report(draining=False)))
        )

    def _put_together(self) -> "Assembly":
        make_packages_known()
        from slipway_server.app.assembly import Assembly  # noqa: PLC0415 - imports TensorFlow, which takes a while

        assembly = Assembly(
            self._settings,
            failed_for_good=self._failed_for_good,
            failed_to_start=self._failed_to_start,
            changed=self._show_health,
            waiting=self._ports.waiting,
            native=self._ports.native_versions(),
        )
        self._assembly = assembly
        return assembly

    def _serve(self, assembly: "Assembly") -> None:
        self._ports.serve(
            assembly.rest_api,
            assembly.rpc_methods,
            assembly.rpc_questions,
            assembly.rpc_changes,
            assembly.rpc_streams,
        )
        self._show_health()

    def _failed_to_start(self, error: ServingError) -> None:
        self._events.put(_Exit(EXIT_FAILED, "FailedToStart", str(error)))

    def _failed_start(self, error: ServingError) -> int:
        print(f"Failed to start server. Error: {error}", flush=True)  # noqa: T201 - TensorFlow Serving's place for it
        self._set_up_log()
        self._write_termination_log("FailedToStart", str(error))
        return EXIT_FAILED

    def _failed_for_good(self, message: str) -> None:
        ends = self._settings.exit_on_failed_load or self._settings.exit_after_load
        if ends and not self._draining:
            self._events.put(_Exit(EXIT_REJECTED, "LoadFailed", message))

    def _give_up(self, end: _Exit) -> int:
        if end.code == EXIT_OK:
            self._log.info("loaded", message=end.message, exit_code=end.code)
        else:
            self._log.error("giving up", reason=end.reason, message=end.message, exit_code=end.code)
        if end.code == EXIT_FAILED:
            print(f"Failed to start server. Error: {end.message}", flush=True)  # noqa: T201 - see above
        self._write_termination_log(end.reason, end.message)
        if self._assembly is not None:
            self._assembly.remove_fetched()
        return end.code

    def _write_termination_log(self, reason: str, message: str) -> None:
        if self._settings.termination_log:
            try:
                Path(self._settings.termination_log).write_bytes(
                    termination_message(reason, message)
                )
            except OSError as error:
                self._log.warning("termination log not written", error=str(error))

    # ---- health ------------------------------------------------------------------------------------------------

    def _report(self) -> Report:
        if self._assembly is None:
            reason = "The server is draining" if self._draining else "The server is starting"
            return Report({}, (reason,))
        return self._assembly.report(draining=self._draining)

    def _show_health(self) -> None:
        # Of two threads that tell of changes, the one with the newer report must be the last.
        with self._showing:
            report = self._report()
            gone = self._shown - report.models.keys()
            self._shown = self._shown | report.models.keys()
            models = [(model, ok and not self._draining) for model, ok in report.models.items()]
            models += [(model, False) for model in gone]
            self._ports.show_health(models, ready=report.ready)

    def _readyz(self) -> HttpResponse:
        report = self._report()
        body: dict[str, Any] = {
            "ready": report.ready,
            "models": dict(report.models),
            "reasons": list(report.reasons),
        }
        if report.labels:
            body["labels"] = {model: dict(of) for model, of in report.labels.items()}
        return HttpResponse(200 if report.ready else 503, json.dumps(body).encode())

    def _metrics(self) -> HttpResponse:
        if self._assembly is None:
            return HttpResponse(200, b"", TEXT)
        content_type, body = self._assembly.metrics()
        return HttpResponse(200, body, content_type)

    # ---- end ---------------------------------------------------------------------------------------------------

    def _drain(self, number: int) -> int:
        """Leave without failing a request: first out of rotation, then wait until every client has gone."""
        served = any(self._report().models.values())
        self._interrupts = int(number == signal.SIGINT)
        limits = DrainLimits(self._settings.drain_least, self._settings.drain)
        drain = Drain(limits, self._look, self._interrupted)
        self._draining = True
        self._ports.drain()
        seconds = self._settings.drain if served else 0.0
        self._log.info(
            "draining",
            signal=signal.Signals(number).name,
            seconds=seconds,
            served=served,
            **({"message": _SECOND_INTERRUPT} if number == signal.SIGINT else {}),
        )
        reason = drain.wait() if served else "nothing was served"
        grace = 0.0 if self._interrupts > 1 else STOP_GRACE_SECONDS
        self._log.info("stopping", reason=reason, grace_seconds=grace)
        self._stopping = True
        if self._assembly:
            self._assembly.stop()
        self._ports.stop(grace)
        if self._assembly:
            self._assembly.close()
        self._log.info("stopped")
        return EXIT_OK

    def _on_signal(self, number: int, _frame: object) -> None:
        """Hand a signal on; once nobody takes it any more, a second SIGINT ends the process here."""
        if self._stopping and number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                os._exit(EXIT_OK)
        self._events.put(_Signal(number))

    def _look(self) -> Clients:
        """Count the clients, after closing connections that have long been idle."""
        self._ports.close_idle()
        return self._ports.clients()

    def _interrupted(self, seconds: float) -> bool:
        """Wait; only a second SIGINT (a person at a terminal) cuts it short."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(event, _Signal):
                self._interrupts += event.number == signal.SIGINT
                cut = self._interrupts > 1
                self._log.info(
                    "signal while draining", signal=signal.Signals(event.number).name, cut_short=cut
                )
                if cut:
                    return True
        return False


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201 - there is no log before the ports are open


def _warn(sentence: str) -> None:
    """Warn before there is a log: a person in plain words, a collector of logs in a line like its others."""
    if sys.stderr.isatty():
        _tell(f"Warning: {sentence}")
    else:
        line = {"message": sentence, "event": "configuration", "level": "warning"}
        _tell(json.dumps({**line, "time": datetime.now(UTC).isoformat().replace("+00:00", "Z")}))


def _loaded_sentence(report: Report) -> str:
    """What is said of models that were loaded and are not going to serve."""
    models = sorted(report.models)
    several = len(models) > 1
    return (
        f"Model{'s' if several else ''} {', '.join(models)} {'were' if several else 'was'} loaded, "
        "warmed up and checked"
    )


def _livez() -> HttpResponse:
    return HttpResponse(200, b"ok\n", TEXT)


def termination_message(reason: str, message: str) -> bytes:
    r"""Return what the termination log says: one JSON object, at most 4096 bytes, one line of message.

    >>> termination_message("LoadFailed", "no\nvariables")
    b'{"reason": "LoadFailed", "message": "no variables"}'
    """
    sentence = " ".join(message.split())[:_TERMINATION_MESSAGE_CHARACTERS]
    while True:
        text = json.dumps({"reason": reason, "message": sentence}).encode()
        if len(text) <= _TERMINATION_LOG_BYTES:
            return text
        sentence = sentence[: len(sentence) * 3 // 4]
