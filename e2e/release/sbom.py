"""Bills of materials in CycloneDX's JSON, from the locks that the images are installed from. Pure."""

import json
import re
import tomllib
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

_PINNED: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "slipway.dev")


def python_packages(lock: str) -> list[Component]:
    """Return the packages of a hash-pinned requirements file."""
    return [
        Component(
            name=found["name"].lower(),
            version=found["version"],
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", None, found["name"].lower(), found["version"]),
            bom_ref=f"pypi:{found['name'].lower()}@{found['version']}",
        )
        for found in _PINNED.finditer(lock)
    ]


def crates(lock: str) -> list[Component]:
    """Return the crates of a Cargo.lock, less the package itself, which has no checksum."""
    packages: list[dict[str, Any]] = tomllib.loads(lock)["package"]
    return [
        Component(
            name=package["name"],
            version=package["version"],
            type=ComponentType.LIBRARY,
            purl=PackageURL("cargo", None, package["name"], package["version"]),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=package["checksum"])],
            bom_ref=f"cargo:{package['name']}@{package['version']}",
        )
        for package in packages
        if "checksum" in package
    ]


def bill(name: str, version: str, made: datetime, components: Iterable[Component]) -> str:
    """Return the document; the same arguments give the same text.

    Args:
        name: of what consists of the components.
        version: of it.
        made: time of the release, aware.
        components: what it consists of.
    """
    listed = tuple(components)
    bom = Bom(
        components=listed,
        serial_number=uuid.uuid5(_NAMESPACE, f"{name}@{version}@{made.isoformat()}"),
    )
    bom.metadata.timestamp = made
    whole = Component(name=name, version=version, type=ComponentType.CONTAINER, bom_ref=name)
    bom.metadata.component = whole
    bom.register_dependency(whole, listed)
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
