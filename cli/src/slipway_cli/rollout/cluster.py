"""Models of a cluster, by the kubeconfig of the person; whatever goes wrong becomes one sentence.

Through the official client, as the operator: it knows every way in which a kubeconfig can log in (plugins of clouds,
tokens, certificates), and a lighter client would be one more to keep. It is imported only when a cluster is asked.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Final

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from slipway_cli.errors import CliError, UnavailableError, UsageError
from slipway_cli.rollout.verbs import GROUP

_VERSION: Final = "v1alpha1"
_PLURAL: Final = "models"
_TIMEOUT: Final = (5.0, 30.0)
"""Seconds to connect, and without a byte of an answer."""
_WATCH_SECONDS: Final = 300
_NOT_FOUND, _FORBIDDEN, _UNAUTHORIZED, _GONE = 404, 403, 401, 410


class Cluster:
    """The Models of one namespace."""

    def __init__(self, namespace: str, context: str, kubeconfig: str) -> None:
        """Read the kubeconfig; no request is made yet.

        Raises:
            CliError: There is none that says where the cluster is.
        """
        # A credential plugin that fails logs a traceback; the request that then fails says it in one sentence.
        logging.getLogger("kubernetes").setLevel(logging.CRITICAL)
        configuration = client.Configuration()
        self.namespace = namespace
        try:
            _, active = config.list_kube_config_contexts(config_file=kubeconfig or None)
            chosen = {"context": context} if context else {}
            config.load_kube_config(
                config_file=kubeconfig or None, client_configuration=configuration, **chosen
            )
            if not namespace:
                self.namespace = _namespace(kubeconfig, context, active)
        except Exception as error:
            raise CliError(_no_cluster(error, context, kubeconfig)) from error
        configuration.retries = 1
        self._host = configuration.host
        self._api = client.CustomObjectsApi(client.ApiClient(configuration))

    def model(self, name: str) -> dict[str, Any]:
        """Return one Model.

        Raises:
            CliError: There is none, or the API server says no.
        """
        with self._errors(name):
            found: dict[str, Any] = self._api.get_namespaced_custom_object(
                *self._where(), name, _request_timeout=_TIMEOUT
            )
        return found

    def names(self) -> list[str]:
        """Return the names of all Models.

        Raises:
            CliError: The API server says no.
        """
        with self._errors(""):
            found = self._api.list_namespaced_custom_object(
                *self._where(), _request_timeout=_TIMEOUT
            )
        return sorted(item["metadata"]["name"] for item in found["items"])

    def annotate(self, name: str, annotations: Mapping[str, str | None]) -> dict[str, Any]:
        """Set annotations of a Model, or remove those that are None, and return it.

        Raises:
            CliError: There is none, or the API server says no.
        """
        with self._errors(name):
            found: dict[str, Any] = self._api.patch_namespaced_custom_object(
                *self._where(),
                name,
                {"metadata": {"annotations": dict(annotations)}},
                _request_timeout=_TIMEOUT,
            )
        return found

    def changes(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield a Model now, and whenever it changes, until it is deleted.

        Raises:
            CliError: There is none, or the API server says no.
        """
        found = self.model(name)
        while True:
            yield found
            for kind, item in self._events(name, found["metadata"]["resourceVersion"]):
                if kind == "DELETED":
                    return
                found = item
                yield found
            found = self.model(name)

    def _events(self, name: str, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Watch until the server ends it, as it does now and then."""
        with self._errors(name):
            try:
                events = watch.Watch().stream(
                    self._api.list_namespaced_custom_object,
                    *self._where(),
                    field_selector=f"metadata.name={name}",
                    resource_version=version,
                    timeout_seconds=_WATCH_SECONDS,
                    _request_timeout=(_TIMEOUT[0], _WATCH_SECONDS + _TIMEOUT[1]),
                )
                for event in events:
                    if event["type"] in {"ADDED", "MODIFIED", "DELETED"}:
                        yield event["type"], event["object"]
            except ApiException as error:
                if error.status != _GONE:
                    raise

    def _where(self) -> tuple[str, str, str, str]:
        return GROUP, _VERSION, self.namespace, _PLURAL

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            raise self._refusal(name, error) from error
        except HTTPError as error:
            raise UnavailableError(
                f"the cluster at {self._host} does not answer: is it up, and the right one in the kubeconfig?"
            ) from error

    def _refusal(self, name: str, error: ApiException) -> CliError:
        try:
            message = str(json.loads(error.body)["message"])
        except (ValueError, KeyError, TypeError):
            message = str(error.reason)
        if error.status == _NOT_FOUND:
            if f'"{name}" not found' in message and name:
                return UsageError(f"{self.namespace} has no Model {name}{self._near(name)}")
            return CliError(
                f"the cluster at {self._host} has no Models: Slipway is not installed there, or an older one"
            )
        if error.status == _FORBIDDEN:
            return CliError(f"{message}: ask for the ClusterRole view (status, history) or edit")
        if error.status == _UNAUTHORIZED:
            return CliError(
                f"the cluster at {self._host} does not accept the kubeconfig's credentials: log in again"
            )
        return CliError(f"the cluster at {self._host} refused the request: {message}")

    def _near(self, name: str) -> str:
        try:
            known = self.names()
        except CliError:
            return ""
        near = get_close_matches(name, known, 1)
        if near:
            return f": did you mean {near[0]}?"
        return (
            f": it has {', '.join(known[:10])}"
            if known
            else ": it has none; another namespace is chosen with -n"
        )


def _namespace(kubeconfig: str, context: str, active: Mapping[str, Any]) -> str:
    contexts, _ = config.list_kube_config_contexts(config_file=kubeconfig or None)
    chosen = next((one for one in contexts if one["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")


def _no_cluster(error: Exception, context: str, kubeconfig: str) -> str:
    if context and "Expected object with name" in str(error):
        return f"the kubeconfig has no context {context}: kubectl config get-contexts lists them"
    where = kubeconfig or "KUBECONFIG, or ~/.kube/config"
    return f"no cluster: {where} names none; kubectl config get-contexts shows what it has"
