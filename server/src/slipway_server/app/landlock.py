"""Landlock: this process, and all that it starts, can from now on open only the files that it named before.

The numbers are those of Linux's linux/landlock.h and of its table of system calls, which is the same for every
architecture that TensorFlow runs on. glibc has no functions for them.
"""

import ctypes
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Final

from slipway_server.errors import Code, ServingError

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


class Access(IntFlag):
    """LANDLOCK_ACCESS_FS_*: what may be done below a path."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ: Final = Access.READ_FILE | Access.READ_DIR
RUN: Final = READ | Access.EXECUTE
WRITE: Final = (
    READ
    | Access.WRITE_FILE
    | Access.TRUNCATE
    | Access.MAKE_REG
    | Access.MAKE_DIR
    | Access.REMOVE_FILE
    | Access.REMOVE_DIR
)
_OF_FILES: Final = (
    Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
)
"""What can be granted for a file that is no directory."""
_SINCE: Final = (
    (1, Access.REFER - 1),
    (2, Access.REFER),
    (3, Access.TRUNCATE),
    (5, Access.IOCTL_DEV),
)
"""Which version of Landlock knows what; the first one all that comes before REFER."""
_NETWORK_SINCE: Final = 4
_CONNECT_TCP: Final = 1 << 1


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done at a path and below it. A path that does not exist is left out unless it is required."""

    path: str
    access: Access
    required: bool = False


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64), ("handled_access_net", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def restrict(rules: Iterable[Rule]) -> int:
    """Restrict this process for good, and return which version of Landlock the kernel has.

    What the kernel is too old to forbid stays allowed: truncating files before version 3, TCP connections before 4.

    Raises:
        ServingError: FAILED_PRECONDITION; the kernel cannot do it, or it is too late. Nothing is restricted then.
    """
    version = supported_version()
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - names are all that is needed
        raise _impossible("other threads of this process are running already")
    handled = Access(sum(access for since, access in _SINCE if since <= version))
    ruleset = _create(handled, version)
    try:
        for rule in rules:
            _allow(ruleset, rule, handled)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        if _syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) < 0:
            raise _impossible(f"the kernel refuses: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(ruleset)
    return version


def supported_version() -> int:
    """Return the version of Landlock that the kernel has.

    Raises:
        ServingError: FAILED_PRECONDITION; it has none.
    """
    version = _syscall(
        _CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)
    )
    if version > 0:
        return version
    raise _impossible(why_not(ctypes.get_errno()))


def why_not(error: int) -> str:
    """Return what the error says with which the kernel answers a question for Landlock's version."""
    match error:
        case errno.ENOSYS:
            return "this kernel has none; Linux 5.13 or newer is needed, built with CONFIG_SECURITY_LANDLOCK"
        case errno.EOPNOTSUPP:
            return "it was not enabled when this kernel started; add landlock to its lsm= parameter"
        case errno.EPERM | errno.EACCES:
            return (
                "the container's seccomp profile forbids its system calls; allow landlock_create_ruleset, "
                "landlock_add_rule and landlock_restrict_self"
            )
        case _:
            return f"the kernel says: {os.strerror(error)}"


def _create(handled: Access, version: int) -> int:
    attributes = _RulesetAttr(handled, _CONNECT_TCP)
    # Older kernels know the first field alone.
    size = (
        ctypes.sizeof(attributes) if version >= _NETWORK_SINCE else ctypes.sizeof(ctypes.c_uint64)
    )
    ruleset = _syscall(
        _CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    if ruleset < 0:
        raise _impossible(f"the kernel refuses: {os.strerror(ctypes.get_errno())}")
    return ruleset


_kept_open: Final[list[int]] = []


def _allow(ruleset: int, rule: Rule, handled: Access) -> None:
    try:
        descriptor = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if rule.required:
            raise _impossible(f"{rule.path} cannot be opened: {error.strerror}") from error
        return
    access = rule.access & handled
    if not Path(rule.path).is_dir():
        access &= _OF_FILES
    attributes = _PathBeneathAttr(access, descriptor)
    failed = access and _syscall(
        _ADD_RULE,
        ctypes.c_int(ruleset),
        ctypes.c_int(_RULE_PATH_BENEATH),
        ctypes.byref(attributes),
        ctypes.c_uint32(0),
    )
    if rule.path.startswith("/proc/"):
        # A rule holds for an inode, and /proc makes new ones for names that nobody has open.
        _kept_open.append(descriptor)
    else:
        os.close(descriptor)
    if failed:
        raise _impossible(f"no rule for {rule.path}: {os.strerror(ctypes.get_errno())}")


def _impossible(why: str) -> ServingError:
    return ServingError(
        Code.FAILED_PRECONDITION,
        f"--landlock: this process cannot be restricted with Landlock: {why}",
    )


def _syscall(number: int, *arguments: object) -> int:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    return int(syscall(ctypes.c_long(number), *arguments))


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    ctypes.CDLL(None, use_errno=True).prctl(
        ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero
    )
