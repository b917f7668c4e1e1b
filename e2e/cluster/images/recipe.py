"""What the images are made from, and when they must be made again. Pure."""

import configparser
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

BASE = "localhost/slipway-base:bookworm"
SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
BASE_RECIPE = 1
"""Counts up when the way the base is made changes."""

UNNEEDED = (
    "usr/share/doc/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
)
"""Of the base: half of its 275 MB."""


@dataclass(frozen=True, slots=True)
class Image:
    """One of the project's images, built from its Containerfile at the repository's root."""

    name: str
    containerfile: str

    @property
    def reference(self) -> str:
        return f"localhost/{self.name}:dev"


IMAGES = (
    Image("slipway-operator", "operator/Containerfile"),
    Image("slipway-sync", "sync/Containerfile"),
    Image("slipway-server", "server/Containerfile"),
)

# Which of pip's settings say where packages come from and whom to trust; the others are about
# the machine that runs pip.
PIP_SETTINGS = frozenset(
    {
        "cert",
        "client-cert",
        "default-timeout",
        "disable-pip-version-check",
        "extra-index-url",
        "find-links",
        "index-url",
        "no-index",
        "proxy",
        "retries",
        "timeout",
        "trusted-host",
    }
)
PIP_PATHS = ("cert", "client-cert", "find-links")

_ARGUMENT = re.compile(r"^ARG\s+(\w+)=(\S+)\s*$", re.MULTILINE)
_COPY = re.compile(r"^COPY\s+(?P<words>.+)$", re.MULTILINE)


def base_key() -> str:
    """Names a base image: the same when it would hold the same packages."""
    return hashlib.sha256(
        json.dumps([BASE_RECIPE, SUITE, BASE_PACKAGES, UNNEEDED]).encode()
    ).hexdigest()[:16]


def copied_paths(containerfile: str) -> tuple[str, ...]:
    """The paths of the build context that a Containerfile takes in, sorted.

    Knows `COPY SOURCE… DESTINATION` on one line and the defaults of `ARG NAME=VALUE`.

    Raises:
        ValueError: a COPY that it cannot read.
    """
    defaults = dict(_ARGUMENT.findall(containerfile))
    found: set[str] = set()
    for match in _COPY.finditer(containerfile):
        words = match["words"].split()
        if any(word.startswith("--from=") for word in words):
            continue
        if words[-1] == "\\" or words[0].startswith("["):
            raise ValueError(f"cannot read `COPY {match['words']}`; write it on one line, unquoted")
        for word in words[:-1]:
            if not word.startswith("--"):
                found.add(re.sub(r"\$\{?(\w+)\}?", lambda name: defaults.get(name[1], ""), word))
    return tuple(sorted(found))


def is_ignored(path: PurePosixPath, patterns: Iterable[str]) -> bool:
    """Whether the path or a folder it is in matches a pattern of the ignore file."""
    return any(
        candidate.match(pattern.removeprefix("**/"))
        if pattern.startswith("**/")
        else candidate == PurePosixPath(pattern)
        for pattern in patterns
        for candidate in (path, *path.parents)
    )


def image_key(containerfile: str, files: Iterable[tuple[str, bytes]]) -> str:
    """Names an image: the same when it is made from the same base, recipe and files.

    Args:
        containerfile: its text.
        files: path and content of every file that it takes in.
    """
    digest = hashlib.sha256(base_key().encode() + containerfile.encode())
    for path, content in sorted(files):
        digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def pip_settings(files: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """What this machine's pip is told about where packages come from.

    Args:
        files: texts of pip's configuration files, the more specific ones later.
        environment: its PIP_… variables come last and win, as they do for pip.
    """
    found: dict[str, str] = {}
    for text in files:
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string(text)
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update(parser.items(section))
    for name, value in environment.items():
        if name.startswith("PIP_"):
            found[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return {name: found[name] for name in sorted(found) if name in PIP_SETTINGS and found[name]}


def pip_configuration(settings: Mapping[str, str]) -> str:
    """The settings as pip's configuration file."""
    parser = configparser.RawConfigParser()
    parser["global"] = {
        name: value.replace("\n", "\n\t").replace(" ", "\n\t") if name == "find-links" else value
        for name, value in settings.items()
    }
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def pip_paths(settings: Mapping[str, str]) -> tuple[str, ...]:
    """The local files and folders that the settings name."""
    words = [word for name in PIP_PATHS for word in settings.get(name, "").split()]
    return tuple(word for word in words if word.startswith("/"))


def referenced_blobs(index: bytes, blobs: Mapping[str, bytes]) -> frozenset[str]:
    """The digests that an OCI layout still needs; the others are of images built over.

    Args:
        index: the layout's index.json.
        blobs: content by digest, of at least the manifests.
    """
    found: set[str] = set()
    for entry in json.loads(index)["manifests"]:
        manifest = json.loads(blobs[entry["digest"]])
        found |= {entry["digest"], manifest["config"]["digest"]}
        found |= {layer["digest"] for layer in manifest["layers"]}
    return frozenset(found)


def without_untagged(index: bytes) -> bytes:
    """The index less the manifests that lost their name to a newer one."""
    document = json.loads(index)
    document["manifests"] = [
        entry for entry in document["manifests"] if _reference(entry) is not None
    ]
    return json.dumps(document).encode()


def references(index: bytes) -> dict[str, str]:
    """Image name to manifest digest, of an OCI layout."""
    return {
        name: entry["digest"]
        for entry in json.loads(index)["manifests"]
        if (name := _reference(entry)) is not None
    }


def _reference(entry: Mapping[str, Any]) -> str | None:
    name = entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
    return None if name is None else str(name)
