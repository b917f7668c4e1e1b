"""What retention says: its sentence in the status, and its Events."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from slipway_operator.api.conditions import EventReason
from slipway_operator.api.status import DoomedVersion
from slipway_operator.model.actions import KubernetesEvent
from slipway_sync.exports import size

NOTICE: Final = timedelta(minutes=1)
"""How long before its deletion an export is named, at least."""


def _weight(doomed: Iterable[DoomedVersion]) -> str:
    items = list(doomed)
    objects = sum(item.objects for item in items)
    weight = size(sum(item.bytes for item in items))
    return f"{objects} object{'' if objects == 1 else 's'}, {weight}"


def counted(versions: int) -> str:
    """`1 version is`, `2 versions are`."""
    return f"{versions} version{' is' if versions == 1 else 's are'}"


def would_delete(doomed: DoomedVersion, *, dry: bool) -> KubernetesEvent:
    """The Event that names an export before it goes."""
    when = (
        "spec.retention.dryRun is true"
        if dry
        else f"it goes in {int(NOTICE.total_seconds())} s at the earliest"
    )
    return KubernetesEvent(
        EventReason.WOULD_DELETE,
        f"version {doomed.version} would be deleted from the source "
        f"({_weight([doomed])}; {doomed.directory}/): {when}",
    )


def deleted(doomed: DoomedVersion) -> KubernetesEvent:
    """The Event for an export that is gone."""
    return KubernetesEvent(
        EventReason.DELETED,
        f"version {doomed.version} was deleted from the source ({_weight([doomed])}; "
        f"{doomed.directory}/)",
    )


def sentence(rows: Sequence[DoomedVersion], kept: Sequence[int], *, dry: bool) -> str:
    """What stays, and what goes when."""
    stay = f"{_numbers(kept)} stay{'s' if len(kept) == 1 else ''}"
    if not rows:
        return f"retention: {stay}; nothing to delete"
    numbers = _numbers([row.version for row in rows])
    first = min(datetime.fromisoformat(row.since) for row in rows) + NOTICE
    how = "would be deleted (dryRun)" if dry else f"will be deleted after {first:%H:%M:%S}Z"
    if not dry and any(row.state == "Deleting" for row in rows):
        how = "are being deleted" if len(rows) > 1 else "is being deleted"
    return f"retention: {numbers} {how}: {_weight(rows)}; {stay}"


def _numbers(versions: Sequence[int]) -> str:
    """Numbers as a person writes them; many are cut short."""
    shown = [str(number) for number in versions[:8]]
    more = f" and {len(versions) - 8} more" if len(versions) > 8 else ""  # noqa: PLR2004
    return f"version{'' if len(versions) == 1 else 's'} {', '.join(shown)}{more}"
