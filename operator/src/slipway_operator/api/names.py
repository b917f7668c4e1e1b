"""Names that other programs see: the API group, labels, annotations and the names of children."""

import hashlib
from typing import Final

GROUP: Final = "slipway.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "Model"
PLURAL: Final = "models"
SHORT_NAME: Final = "slm"
API_VERSION: Final = f"{GROUP}/{VERSION}"

FIELD_MANAGER: Final = "slipway"

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "slipway"
MODEL_LABEL: Final = f"{GROUP}/model"
VERSION_LABEL: Final = f"{GROUP}/version"
SERVABLE_LABEL: Final = f"{GROUP}/servable"
ROTATION_LABEL: Final = f"{GROUP}/rotation"
"""Set on live pods while a transition mixes versions; the Service NAME selects it then."""
ROTATION_IN: Final = "in"
SELECTS_LABEL: Final = f"{GROUP}/selects"
"""On every Service of ours: what it selects, a servable's id or `rotation`."""
SELECTS_ROTATION: Final = "rotation"
"""What NAME selects while a transition mixes versions."""
SOURCE_LABEL: Final = f"{GROUP}/source"
"""On the pod that lists a volume for the Model of that name."""
VOLUME_LABEL: Final = f"{GROUP}/volume"
"""On every pod of ours that mounts a claim: which one."""

PREFLIGHT_LABEL: Final = f"{GROUP}/preflight"
"""On a pre-flight Job and its pod: the Model that it tries a version out for. They lack the Model's own label, so that
no Service and no PodDisruptionBudget takes the pod for one that serves."""
CHECK_ANNOTATION: Final = f"{GROUP}/check"
"""On a pre-flight Job: what it does, Verify or Load."""

REVISION_ANNOTATION: Final = f"{GROUP}/revision"
DIRECTORY_ANNOTATION: Final = f"{GROUP}/directory"
TEMPLATE_ANNOTATION: Final = f"{GROUP}/template"
"""On the Deployment of a servable: hash of its pod template as it was rendered when it was created."""
HOSTS_ANNOTATION: Final = f"{GROUP}/hosts"
"""On a Secret: the hosts that its credentials may be sent to, comma-separated."""
INPUTS_ANNOTATION: Final = f"{GROUP}/inputs"
"""On the watcher's Deployment and pod: hash of what they were made from."""

SYNC_CONTAINER: Final = "sync"
SERVER_CONTAINER: Final = "server"
WATCH_CONTAINER: Final = "watch"

MAX_NAME_LENGTH: Final = 40
"""Leaves room in a Service's 63 characters for `-v` and the 19 digits of an int64."""

NAME_PATTERN: Final = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""DNS-1035, as Services want it."""

GRPC_PORT: Final = 8500
REST_PORT: Final = 8501

GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
GATEWAY_VERSION: Final = "v1"
HTTP_ROUTE: Final = "HTTPRoute"
GRPC_ROUTE: Final = "GRPCRoute"
ROUTE_KINDS: Final = (HTTP_ROUTE, GRPC_ROUTE)
VERSION_HEADER: Final = "slipway-version"
"""Metadata of a gRPC request that names a version to a gateway, which cannot see the one in the message."""
LABEL_HEADER: Final = "slipway-label"
"""Likewise a version label."""

RESERVED_LABELS: Final = ("pods", "next")
"""Version labels that would collide with the Services NAME-pods and NAME-next."""


def version_service(model: str, version: int) -> str:
    """The Service that reaches one version, whatever NAME points to."""
    return f"{model}-v{version}"


def label_service(model: str, label: str) -> str:
    """The Service that follows a version label."""
    return f"{model}-{label}"


def pods_service(model: str) -> str:
    """The headless Service for clients that balance themselves."""
    return f"{model}-pods"


def next_service(model: str) -> str:
    """The Service that tries out the selector to which NAME is about to be flipped."""
    return f"{model}-next"


def spare_next_service(model: str) -> str:
    """What tries the selector out while NAME-next belongs to someone else, such as a Model of that name."""
    return f"{next_service(model)}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def servable_id(version: int, key: str) -> str:
    """What is served, as one label value: a version rendered from one set of inputs."""
    return f"v{version}-{key}"


def deployment_name(model: str, servable: str) -> str:
    """The Deployment of a servable."""
    return f"{model}-{servable}"


def preflight_job(model: str, key: str) -> str:
    """The Job that tries a servable out; short enough for the label that its pod gets of it."""
    return f"{model}-preflight-{key}"


def cache(model: str) -> str:
    """The Model's own claim, and the ConfigMap that says what has to stay in its cache."""
    return f"{model}-cache"


def watcher(model: str) -> str:
    """The Deployment whose pod lists a volume for the operator."""
    return f"{model}-source"
