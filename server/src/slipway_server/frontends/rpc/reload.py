"""ModelService.HandleReloadConfigRequest: other models from now on, for those who may say so."""

import ipaddress
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry

from slipway_server.control.model_config import model_configs
from slipway_server.control.model_roots import ModelRoots, check_fixed
from slipway_server.control.reload import ConfiguredModels
from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.observability.families import counter_values
from slipway_server.storage.source import ModelConfig
from slipway_server.wire.tensorflow_serving.apis import model_management_pb2

_METHOD: Final = "HandleReloadConfigRequest"
_FORWARDED: Final = ("x-forwarded-", "x-envoy-", "l5d-")
_FORWARDED_NAMES: Final = frozenset({"forwarded", "via", "x-real-ip"})
"""Headers with which proxies say that the call is somebody else's."""
_CERTIFICATE: Final = "x509_pem_cert"
"""What gRPC knows of a caller whose certificate it has verified."""


class ReloadCallers(StrEnum):
    """Who may change the models: `--reload_rpc`."""

    OFF = "off"
    LOCAL = "local"
    ON = "on"


def check_caller(callers: ReloadCallers, context: grpc.ServicerContext) -> None:
    """Refuse a call of somebody who may not change the models.

    Raises:
        ServingError: PERMISSION_DENIED.
    """
    if callers is ReloadCallers.ON:
        return
    if callers is ReloadCallers.OFF:
        raise ServingError(
            Code.PERMISSION_DENIED,
            f"{_METHOD} is off on this server (--reload_rpc); started with --reload_rpc=local it takes calls from its "
            "own machine",
        )
    if _CERTIFICATE in context.auth_context():
        return
    peer = unquote(context.peer())
    if not is_local(peer):
        raise _refused(f"this call is from {peer}")
    if via := _proxy_header(context):
        raise _refused(f"this call came through a proxy, which added {via}")


def is_local(peer: str) -> bool:
    """Whether a peer, as gRPC writes it, is on this machine for certain.

    >>> is_local("ipv4:127.0.0.1:5000"), is_local("ipv6:[::1]:5000"), is_local("unix:"), is_local("ipv4:10.0.0.1:5000")
    (True, True, True, False)
    """
    kind, _, address = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return kind in {"unix", "unix-abstract"}
    try:
        host = ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return (mapped or host).is_loopback


def _proxy_header(context: grpc.ServicerContext) -> str:
    names = (str(name).lower() for name, _ in context.invocation_metadata() or ())
    return next((n for n in names if n in _FORWARDED_NAMES or n.startswith(_FORWARDED)), "")


def _refused(why: str) -> ServingError:
    return ServingError(
        Code.PERMISSION_DENIED,
        f"{_METHOD} is taken over the UNIX socket, the loopback interface or with a client certificate that is "
        f"verified (--reload_rpc=local); {why}",
    )


class ReloadMethod:
    """Bytes of a ReloadConfigRequest in, bytes of a ReloadConfigResponse out.

    Args:
        models: receives the new configuration.
        roots: says which paths it may name.
        fixed: models that it must leave as they are.
        registry: has the counters whose increase a request may ask for.
    """

    def __init__(
        self,
        models: ConfiguredModels,
        roots: ModelRoots,
        registry: CollectorRegistry,
        *,
        fixed: tuple[ModelConfig, ...] = (),
    ) -> None:
        self._models = models
        self._roots = roots
        self._fixed = fixed
        self._registry = registry

    def __call__(self, data: bytes, deadline: float | None) -> bytes:
        """Answer one request.

        Args:
            data: the request.
            deadline: when its caller stops to listen, in monotonic seconds.

        Raises:
            ServingError: the status of the reload, if that is not OK.
        """
        try:
            request = model_management_pb2.ReloadConfigRequest.FromString(data)
        except DecodeError as error:
            raise ServingError(
                Code.INTERNAL, "The request is not a ReloadConfigRequest message"
            ) from error
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        before = counter_values(self._registry, request.metric_names)
        configs = model_configs(request.config) or ()
        self._models.apply_and_wait(configs, deadline, confine=self._confined)
        reply = model_management_pb2.ReloadConfigResponse()
        reply.status.error_code = int(Code.OK)
        after = counter_values(self._registry, request.metric_names)
        for name in dict.fromkeys(request.metric_names):
            # What is no counter, or has no series yet, did not increase: every name that was asked for is answered.
            increase = after.get(name, 0) - before.get(name, 0)
            reply.metric.add(name=name, int64_value_increase=increase)
        return bytes(reply.SerializeToString())

    def _confined(self, configs: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        check_fixed(self._fixed, configs)
        return self._roots.confined(configs)
