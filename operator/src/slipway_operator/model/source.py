"""What the object store was seen to hold."""

from dataclasses import dataclass
from enum import StrEnum

from slipway_operator.api.conditions import Reason, reason_of


class Readiness(StrEnum):
    """How far an export in the source is."""

    UNSEEN = "Unseen"
    """In the listing, but the version policy does not ask for it, so it was not looked at."""
    SETTLING = "Settling"
    """Its listing has not stood still for long enough to be looked at."""
    INCOMPLETE = "Incomplete"
    """Something is missing that an upload may still bring."""
    REJECTED = "Rejected"
    """It cannot become right as it is listed."""
    COMPLETE = "Complete"
    """Proven complete, from the export itself."""


def export_reason(text: str, readiness: Readiness) -> Reason | None:
    """The reason that a check of an export gave; None when it found nothing missing or invalid."""
    match readiness:
        case Readiness.INCOMPLETE:
            return reason_of(text, Reason.INCOMPLETE)
        case Readiness.REJECTED:
            return reason_of(text, Reason.REJECTED)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """A version directory in the source.

    Attributes:
        directory: The directory's own spelling, `00000003` for 3.
        reason: What is missing or invalid; None when nothing is known to be.
        message: A sentence that names the file.
        object: The file, relative to the directory; empty when it is about none.
    """

    number: int
    directory: str
    revision: str
    bytes: int
    readiness: Readiness
    reason: Reason | None = None
    message: str = ""
    object: str = ""


@dataclass(frozen=True, slots=True)
class CloudIdentity:
    """What a ServiceAccount is in the cloud of a source. Nothing of it is secret.

    Attributes:
        account: Name of the ServiceAccount.
        audience: Audience that the cloud expects in the token.
        settings: Settings of the identity for the sync agent, as name and value.
    """

    account: str
    audience: str
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SourceObservation:
    """The last poll.

    Attributes:
        polled: False until the operator has asked once since it started.
        error_reason: Why the poll failed; None when it succeeded.
        error_message: The error as one sentence.
        versions: What the last successful poll found; a failed poll keeps them.
        warnings: Sentences about the listing, such as a number spelled twice.
        identity: Cloud identity of the Model's ServiceAccount, where the source is read with that; None
            while it is not known. A failed poll keeps it.
    """

    polled: bool = False
    error_reason: Reason | None = None
    error_message: str = ""
    versions: tuple[SourceVersion, ...] = ()
    warnings: tuple[str, ...] = ()
    identity: CloudIdentity | None = None
