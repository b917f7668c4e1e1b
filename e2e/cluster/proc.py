"""What /proc says about processes: parsing is pure, reading is at the bottom."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ZOMBIE = "Z"
DEAD = "X"


@dataclass(frozen=True, slots=True)
class Stat:
    """The few fields of /proc/PID/stat that tell processes apart."""

    pid: int
    command: str
    state: str
    parent: int
    started: int
    """Clock ticks since boot. A pid is used again; a pid with its start time is not."""

    @property
    def running(self) -> bool:
        return self.state not in (ZOMBIE, DEAD)


@dataclass(frozen=True, slots=True)
class Process:
    """A running process with what tells whose it is."""

    stat: Stat
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    cgroups: tuple[str, ...]


def parse_stat(text: str) -> Stat:
    """Parses a stat line. The command may hold spaces and parentheses: the last `)` ends it."""
    pid, _, rest = text.partition(" (")
    command, _, fields = rest.rpartition(") ")
    values = fields.split()
    return Stat(
        pid=int(pid),
        command=command,
        state=values[0],
        parent=int(values[1]),
        started=int(values[19]),
    )


def parse_words(data: bytes) -> tuple[str, ...]:
    """The NUL-separated words of cmdline and environ."""
    return tuple(word.decode(errors="replace") for word in data.split(b"\0") if word)


def parse_environment(data: bytes) -> dict[str, str]:
    pairs = (word.partition("=") for word in parse_words(data))
    return {name: value for name, separator, value in pairs if separator}


def parse_cgroups(text: str) -> tuple[str, ...]:
    """The paths of `ID:CONTROLLERS:PATH` lines; a path may hold colons."""
    return tuple(line.split(":", 2)[2] for line in text.splitlines() if line.count(":") >= 2)


def stat(pid: int) -> Stat | None:
    """The process's stat, or None when there is no such process."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def processes() -> Iterator[Process]:
    """Every process that this user may look into; those that end meanwhile are left out."""
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            found = Process(
                stat=parse_stat((folder / "stat").read_text(errors="replace")),
                arguments=parse_words((folder / "cmdline").read_bytes()),
                environment=parse_environment((folder / "environ").read_bytes()),
                cgroups=parse_cgroups((folder / "cgroup").read_text()),
            )
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        yield found


def resident_bytes(pid: int) -> int:
    """Memory that the process holds now; 0 when it has gone."""
    try:
        pages = (PROC / str(pid) / "statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def boot_id() -> str:
    """Changes with every boot: start times of another boot mean nothing."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()
