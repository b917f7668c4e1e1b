"""The operator's own metrics."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RECONCILES: Final = Counter(
    "slipway_operator_reconciles", "Reconciles of Models, by result: ok or error", ["result"]
)
RECONCILE_SECONDS: Final = Histogram(
    "slipway_operator_reconcile_seconds", "Duration of a reconcile: observe, plan and apply"
)
WRITES: Final = Counter(
    "slipway_operator_writes", "Writes to the API server, by the kind of object", ["kind"]
)
POLLS: Final = Counter(
    "slipway_operator_polls", "Polls of object stores, by result: ok or error", ["result"]
)
POLL_SECONDS: Final = Histogram(
    "slipway_operator_poll_seconds",
    "Duration of a poll of an object store, including the wait in the queue",
)
_minutes: Final = (1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 3600, 7200)
"""Buckets for what takes seconds to hours."""
TRANSITION_SECONDS: Final = Histogram(
    "slipway_operator_transition_seconds",
    "Duration of a transition that has ended, by outcome",
    ["outcome"],
    buckets=_minutes,
)
WEIGHT_SECONDS: Final = Histogram(
    "slipway_operator_weight_seconds",
    "How long a step of a rollout has had its share of requests, by the step's weight",
    ["weight"],
    buckets=_minutes,
)
OUTAGE_SECONDS: Final = Counter(
    "slipway_operator_outage_seconds",
    "Seconds of transitions in which no pod of the Model took requests",
)
PREFLIGHTS: Final = Counter(
    "slipway_operator_preflights",
    "Versions tried out before an old pod went for them, by outcome: Passed, Failed or Skipped",
    ["outcome"],
)
SYNC_SECONDS: Final = Histogram(
    "slipway_operator_sync_seconds", "Duration of the sync of a new version's pod", buckets=_minutes
)
LOAD_SECONDS: Final = Histogram(
    "slipway_operator_load_seconds",
    "Time from the end of that sync until the pod was ready",
    buckets=_minutes,
)
MODELS: Final = Gauge("slipway_operator_models", "Models known to this replica")
LEADER: Final = Gauge("slipway_operator_leader", "1 on the leader, which holds the Lease")
EXPORTS_DELETED: Final = Counter(
    "slipway_operator_exports_deleted", "Exports deleted from their source by retention"
)
NOTIFICATIONS: Final = Counter(
    "slipway_operator_notifications",
    "Notifications from object stores, by kind of sender and result",
    ["kind", "result"],
)
