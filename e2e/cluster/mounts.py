"""What is mounted, and taking it away."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from cluster.daemons import SYSTEM_PATH

MOUNTINFO = Path("/proc/self/mountinfo")


def mounts_under(mountinfo: str, folders: Iterable[Path]) -> tuple[str, ...]:
    """The mount points below the folders, in the order in which they can be unmounted.

    The last mounted comes first: what is mounted over or below another was mounted after it.

    Args:
        mountinfo: the text of /proc/self/mountinfo. Unlike a comparison of devices it also tells
            of a folder that is mounted over itself.
        folders: themselves not among them.
    """
    points = [unescaped(line.split(" ")[4]) for line in mountinfo.splitlines() if line]
    tops = tuple(f"{folder}/" for folder in folders)
    return tuple(point for point in reversed(points) if point.startswith(tops))


def unescaped(path: str) -> str:
    """Mountinfo writes space, tab, newline and backslash as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def unmount(point: str) -> None:
    """Unmounts, or at least takes the mount out of sight until its last user is gone."""
    for option in ((), ("--lazy",)):
        done = subprocess.run(
            ["umount", *option, point],
            capture_output=True,
            check=False,
            env={"PATH": SYSTEM_PATH},
        )
        if done.returncode == 0:
            return
