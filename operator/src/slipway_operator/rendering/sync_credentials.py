"""Credentials of the sync: its identity, the authorities and the public key that it trusts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from slipway_operator.api.resource import ModelResource
from slipway_operator.api.source import CaBundle, PublicKey
from slipway_operator.model.source import CloudIdentity
from slipway_operator.rendering.settings import RenderSettings
from slipway_sync.store_kinds import CLAIM

CREDENTIALS_DIR: Final = "/var/run/slipway/credentials"
TOKEN_DIR: Final = "/var/run/slipway/identity"  # noqa: S105 (a directory)
CA_DIR: Final = "/var/run/slipway/ca-bundle"
KEY_DIR: Final = "/var/run/slipway/public-key"

_TOKEN_SECONDS: Final = 3600
"""The kubelet replaces the token at four fifths of its life."""
_READABLE: Final = 0o440
_PUBLIC: Final = 0o444


@dataclass(frozen=True, slots=True)
class SyncCredential:
    """One credential of the sync.

    Attributes:
        arguments: Command line arguments for the agent.
        volume: The volume in the pod; None when nothing is mounted.
        path: Mount path in the container.
    """

    arguments: tuple[str, ...]
    volume: dict[str, Any] | None = None
    path: str = ""

    @property
    def mount(self) -> dict[str, Any]:
        """The container's side of the volume."""
        name = self.volume["name"] if self.volume else ""
        return {"name": name, "mountPath": self.path, "readOnly": True}


def is_identity_known(
    model: ModelResource, identity: CloudIdentity | None, settings: RenderSettings
) -> bool:
    """Whether pods can get the identity that the Model asks for."""
    match model.spec.source.identity:
        case "ServiceAccount":
            return identity is not None and identity.account == model.spec.serving.service_account
        case "Ambient":
            return settings.ambient_identity
        case _:
            return True


def sync_credentials(
    model: ModelResource, identity: CloudIdentity | None
) -> Iterator[SyncCredential]:
    """All credentials of the sync of a Model."""
    source = model.spec.source
    if source.signature is not None:
        yield _file("public-key", source.signature.public_key, KEY_DIR, "publicKey.pem")
    if not CLAIM.has(source.uri):
        yield from _network_credentials(model, identity)


def _network_credentials(
    model: ModelResource, identity: CloudIdentity | None
) -> Iterator[SyncCredential]:
    """What only a source that is reached over a network needs."""
    source = model.spec.source
    if secret := source.credentials_secret:
        volume = {"secretName": secret, "defaultMode": _READABLE}
        yield SyncCredential(
            (f"--credentials={CREDENTIALS_DIR}",),
            {"name": "credentials", "secret": volume},
            CREDENTIALS_DIR,
        )
    if source.identity == "Ambient":
        yield SyncCredential(("--identity=Ambient",))
    elif source.identity and identity is not None:
        yield _token(identity)
    if source.ca_bundle is not None:
        yield _file("ca-bundle", source.ca_bundle, CA_DIR, "ca.crt")


def _token(identity: CloudIdentity) -> SyncCredential:
    settings = (f"--identity-setting={name}={value}" for name, value in identity.settings)
    token = {
        "path": "token",
        "audience": identity.audience,
        "expirationSeconds": _TOKEN_SECONDS,
    }
    return SyncCredential(
        ("--identity=ServiceAccount", f"--identity-token={TOKEN_DIR}/token", *settings),
        {
            "name": "identity",
            "projected": {
                "defaultMode": _READABLE,
                "sources": [{"serviceAccountToken": token}],
            },
        },
        TOKEN_DIR,
    )


def _file(flag: str, reference: CaBundle | PublicKey, directory: str, name: str) -> SyncCredential:
    """One entry of a ConfigMap or a Secret, as a file."""
    items = [{"key": reference.key, "path": name}]
    kind: dict[str, Any]
    if reference.config_map:
        kind = {"configMap": {"name": reference.config_map, "items": items}}
    else:
        kind = {
            "secret": {
                # No secret, in spite of its place; not every pod has a group of its own.
                "secretName": reference.secret, "items": items, "defaultMode": _PUBLIC,
            }
        }  # fmt: skip
    return SyncCredential((f"--{flag}={directory}/{name}",), {"name": flag, **kind}, directory)
