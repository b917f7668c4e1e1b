"""Looks at the config file again and again, and has its models served."""

import threading
from collections.abc import Callable

import structlog

from slipway_server.errors import ServingError
from slipway_server.storage.source import ModelConfig

_log = structlog.get_logger("slipway_server.config")


class ConfigFile:
    """Polls a source of model configs.

    What the file says comes back when somebody has changed the models in another way: the file is what is wanted.
    A change waits for no model, so that one which never loads holds up no later change.

    Args:
        read: returns what the file says; None when it says nothing.
        present: returns what is configured.
        apply: has models served.
        interval: seconds between looks; 0 never looks again.
    """

    def __init__(
        self,
        read: Callable[[], tuple[ModelConfig, ...] | None],
        present: Callable[[], tuple[ModelConfig, ...]],
        apply: Callable[[tuple[ModelConfig, ...]], None],
        interval: float,
    ) -> None:
        self._read = read
        self._present = present
        self._apply = apply
        self._interval = interval
        self._said = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="config-file", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        if self._interval > 0:
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look(self) -> None:
        """Look once."""
        trouble = ""
        try:
            configs = self._read()
            if configs is None:
                trouble = "Taking no action for empty config."
            elif configs != self._present():
                self._apply(configs)
        except ServingError as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001 - a fault here must not end the thread: the next file may be good
            trouble = f"{type(error).__name__}: {error}"
        if trouble and trouble != self._said:
            _log.error("config file not applied", error=trouble)
        self._said = trouble

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            self.look()
