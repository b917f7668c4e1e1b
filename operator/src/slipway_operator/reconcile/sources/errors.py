"""Why a source cannot even be contacted, and what a person can do about it."""

from dataclasses import dataclass

from slipway_operator.api.conditions import Reason
from slipway_operator.api.names import MANAGED_BY


class CredentialsError(Exception):
    """An object that the source needs is missing or may not be read; str() says what to do.

    Attributes:
        reason: Reason of the condition SourceReady.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Installation:
    """Names of this installation's objects, for messages with a command to run.

    Attributes:
        namespace: Namespace of the operator's ServiceAccount.
        service_account: Name of the operator's ServiceAccount.
        credentials_role: ClusterRole that lets the operator read the Secrets of a namespace that
            binds it.
        identities_role: ClusterRole that does the same for the annotations and tokens of its ServiceAccounts.
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
