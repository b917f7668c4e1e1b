"""Reasons: one enum for conditions and versions, one for Events, and every name stays what it was."""

import ast
from enum import StrEnum
from pathlib import Path
from typing import Final

import slipway_sync
from slipway_operator.api.conditions import EventReason, Reason, reason_of
from slipway_operator.api.schema.reference import reasons_page
from slipway_sync.exports import PASSING, ExitCode, ProofReason

SYNC: Final = Path(slipway_sync.__file__).parent
FINDINGS: Final = {"incomplete", "rejected", "_rejected", "WrongAnswerError", "SourceError"}
"""Functions and errors of the sync whose first argument is a reason."""


def _reasons(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in FINDINGS:
                found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
            case ast.ClassDef(name=name) if name.endswith("Reason"):
                assigned = (s.value for s in node.body if isinstance(s, ast.Assign))
                found |= {v.value for v in assigned if isinstance(v, ast.Constant)}
            case _:
                continue
        for keyword in getattr(node, "keywords", ()):
            if keyword.arg == "reason" and isinstance(keyword.value, ast.Constant):
                found.add(keyword.value.value)
    return {str(value) for value in found}


def test_every_reason_that_a_sync_or_a_proof_gives_is_known() -> None:
    modules = [ast.parse(path.read_text()) for path in SYNC.rglob("*.py")]
    given = {reason for tree in modules for reason in _reasons(tree)}
    given |= PASSING | {code.reason for code in ExitCode if code is not ExitCode.SYNCED}
    assert {"MissingShard", "UnreadableGraph", "WrongDigest", "Unavailable"} <= given
    # The reason of a proof that found nothing wrong: no condition and no version has it.
    assert given - {reason.value for reason in Reason} == {ProofReason.COMPLETE.value}


def test_the_reference_page_explains_every_reason() -> None:
    written = reasons_page()
    enums: tuple[type[StrEnum], ...] = (Reason, EventReason)
    for reason in (member for enum in enums for member in enum):
        assert f"| `{reason.value}` | " in written


def test_a_reason_of_another_release_does_not_break_a_plan() -> None:
    assert reason_of("MissingShard", Reason.REJECTED) is Reason.MISSING_SHARD
    assert reason_of("OfALaterRelease", Reason.SYNC_FAILED) is Reason.SYNC_FAILED
