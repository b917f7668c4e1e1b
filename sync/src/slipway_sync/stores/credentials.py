"""What an identity is to a store: somebody who grants credentials for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TemporaryCredentials:
    """Credentials for a while.

    Attributes:
        values: Named like a Secret's entries: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
            AWS_SESSION_TOKEN; GOOGLE_BEARER_TOKEN; AZURE_BEARER_TOKEN.
        expires: When they end; None for those that do not.
    """

    values: Mapping[str, str] = field(repr=False)
    expires: datetime | None


class Identity(Protocol):
    """Somebody a cloud believes."""

    async def granted(self) -> TemporaryCredentials:
        """Return credentials that hold for some time yet.

        Raises:
            SourceError: There are none to be had.
        """

    def refuse(self) -> bool:
        """Say that a store refused what was granted last.

        Returns:
            Whether asking again could bring others.
        """
