"""What a person asks of a rollout by annotating the Model: promote, approve, abort, retry, rollback.

The value of each annotation names a version, so that it stays right whatever happens meanwhile: it can be
read twice, and by an operator that has just started.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from slipway_operator.api import names

_MOST: Final = 2**63 - 1
"""The highest version number, as in TensorFlow Serving."""
_MOST_OF_A_MANAGER: Final = 128
"""Characters that the API server allows in the name of a field manager."""
_SHOWN: Final = 40
"""Characters of a value that a message repeats."""


class Verb(StrEnum):
    """The annotations `slipway.dev/VERB` of a Model."""

    PROMOTE = "promote"
    """The rollout of this version skips all steps that are left, and their pauses."""
    APPROVE = "approve"
    """The pauses of this version's rollout that wait for a person end, up to and including this step; the
    first step is 1. Approving a step twice skips nothing."""
    ABORT = "abort"
    """The transition to this version is given up, and what served before goes on. The version is not tried
    again until its files or the spec change, or `retry` asks for it. Each value is acted on once; to abort
    again, write another number after the slash."""
    RETRY = "retry"
    """This version is tried again after it has failed, was rolled back or was aborted. Each value is acted
    on once; to retry again, write another number after the slash."""
    ROLLBACK = "rollback"
    """Only this version serves, as with `spec.versions: {specific: [VERSION]}`. It stays pinned, and newer
    versions are not started, until the annotation is removed."""

    @property
    def annotation(self) -> str:
        """Name of the annotation."""
        return f"{names.GROUP}/{self.value}"


FORMS: Final[Mapping[Verb, str]] = {
    Verb.PROMOTE: "VERSION",
    Verb.APPROVE: "VERSION/STEP",
    Verb.ABORT: "VERSION or VERSION/NUMBER",
    Verb.RETRY: "VERSION or VERSION/NUMBER",
    Verb.ROLLBACK: "VERSION",
}
"""What a value looks like."""
EXAMPLES: Final[Mapping[Verb, str]] = {
    Verb.PROMOTE: "7",
    Verb.APPROVE: "7/1",
    Verb.ABORT: "7",
    Verb.RETRY: "7",
    Verb.ROLLBACK: "6",
}


@dataclass(frozen=True, slots=True)
class Request:
    """The value of one annotation.

    Attributes:
        number: What stands after the slash; 1 where nothing does.
    """

    version: int
    number: int = 1

    @property
    def text(self) -> str:
        """The value in the one spelling that is remembered.

        >>> Request(7).text, Request(7, 2).text
        ('7/1', '7/2')
        """
        return f"{self.version}/{self.number}"


@dataclass(frozen=True, slots=True)
class Verbs:
    """What the annotations of a Model ask for; None where there is no such annotation, or no valid one.

    Attributes:
        problems: What is wrong with annotations whose values cannot be used, a sentence for each.
    """

    promote: Request | None = None
    approve: Request | None = None
    abort: Request | None = None
    retry: Request | None = None
    rollback: Request | None = None
    problems: tuple[str, ...] = ()

    def promotes(self, version: int) -> bool:
        """Whether the steps that are left of a version's rollout are skipped."""
        return self.promote is not None and self.promote.version == version

    def approved_step(self, version: int) -> int:
        """The last step of a version's rollout whose pause is approved; 0 when none is."""
        approve = self.approve
        return approve.number if approve is not None and approve.version == version else 0

    @property
    def pinned(self) -> int | None:
        """The only version that is to serve; None when none is pinned."""
        return self.rollback.version if self.rollback else None


def read_verbs(annotations: Mapping[str, str]) -> Verbs:
    """Read the annotations; one that cannot be used becomes a problem and changes nothing else.

    >>> read_verbs({"slipway.dev/approve": "7/2"}).approved_step(7)
    2
    >>> read_verbs({"slipway.dev/rollback": "v6"}).problems[0]
    "annotation slipway.dev/rollback has the value 'v6': write VERSION, for example 6, or remove the annotation"
    """
    found: dict[str, Request] = {}
    problems = []
    for verb in Verb:
        value = annotations.get(verb.annotation)
        if value is None:
            continue
        request = _parsed(verb, value)
        if request is None:
            problems.append(
                f"annotation {verb.annotation} has the value {_shown(value)}: write {FORMS[verb]}, "
                f"for example {EXAMPLES[verb]}, or remove the annotation"
            )
        else:
            found[verb.value] = request
    return Verbs(**found, problems=tuple(problems))


def _shown(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…")


def _parsed(verb: Verb, value: str) -> Request | None:
    version, slash, number = value.strip().partition("/")
    if (slash and verb in _NEVER_NUMBERED) or (not slash and verb is Verb.APPROVE):
        return None
    numbers = [_number(version), _number(number) if slash else 1]
    if None in numbers or not numbers[1]:
        return None
    return Request(*(n for n in numbers if n is not None))


_NEVER_NUMBERED: Final = frozenset({Verb.PROMOTE, Verb.ROLLBACK})


def _number(text: str) -> int | None:
    """A number in decimal; None for anything else, or one too high for a version."""
    digits = text.isascii() and text.isdecimal() and len(text) <= _SHOWN
    value = int(text) if digits else _MOST + 1
    return value if value <= _MOST else None


@dataclass(frozen=True, slots=True)
class Editors:
    """Who has set what of a Model last, by the field managers that the API server notes.

    Attributes:
        spec: Of fields of the spec; empty if it is not known.
        annotations: Of annotations, by name.
    """

    spec: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def of(self, verb: Verb) -> str:
        """Who has set an annotation; empty if it is not known."""
        return self.annotations.get(verb.annotation, "")


def read_editors(managed_fields: Iterable[Mapping[str, Any]]) -> Editors:
    """Read `metadata.managedFields`; where several managers share what is asked for, the last one counts."""
    spec, annotations = "", {}
    entries = [entry for entry in managed_fields if not entry.get("subresource")]
    for entry in sorted(entries, key=lambda entry: entry.get("time") or ""):
        manager = str(entry.get("manager") or "")[:_MOST_OF_A_MANAGER]
        owned = entry.get("fieldsV1") or {}
        if "f:spec" in owned:
            spec = manager
        for name in (owned.get("f:metadata") or {}).get("f:annotations") or ():
            annotations[name.removeprefix("f:")] = manager
    return Editors(spec, annotations)
