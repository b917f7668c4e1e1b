"""The operator's own metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RECONCILES: Final = Counter(
    "slipway_operator_reconciles", "Plans made, by whether they ended well", ["result"]
)
RECONCILE_SECONDS: Final = Histogram(
    "slipway_operator_reconcile_seconds", "Time to observe, plan and apply"
)
WRITES: Final = Counter("slipway_operator_writes", "Writes to the API server", ["kind"])
POLLS: Final = Counter("slipway_operator_polls", "Polls of object stores", ["result"])
POLL_SECONDS: Final = Histogram(
    "slipway_operator_poll_seconds",
    "Time of a poll of an object store, the wait for its turn included",
)
MODELS: Final = Gauge("slipway_operator_models", "Models known to this replica")
LEADER: Final = Gauge("slipway_operator_leader", "1 on the replica that holds the Lease")
EXPORTS_DELETED: Final = Counter(
    "slipway_operator_exports_deleted", "Exports that retention has deleted from their source"
)
NOTIFICATIONS: Final = Counter(
    "slipway_operator_notifications",
    "Notifications of object stores, by sender and what became of them",
    ["kind", "result"],
)
