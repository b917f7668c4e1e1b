"""What keeps a Model's source from being asked at all, and what a person can do about it."""

from dataclasses import dataclass

from slipway_operator.api.conditions import Reason
from slipway_operator.api.names import MANAGED_BY


class CredentialsError(Exception):
    """What the source needs cannot be had; the message says what to do.

    Attributes:
        reason: Of the condition.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Installation:
    """Who this operator is, for the sentences that tell a person what to run.

    Attributes:
        credentials_role: ClusterRole that lets the operator read the Secrets of a namespace that
            binds it.
        identities_role: The same for the annotations and tokens of its ServiceAccounts.
    """

    namespace: str
    service_account: str
    credentials_role: str = f"{MANAGED_BY}-credentials"
    identities_role: str = f"{MANAGED_BY}-identities"

    def allowing(self, role: str, namespace: str) -> str:
        """The command that binds one of the roles in a namespace."""
        return (
            f"kubectl create rolebinding {role} -n {namespace} --clusterrole={role} "
            f"--serviceaccount={self.namespace}:{self.service_account}"
        )
