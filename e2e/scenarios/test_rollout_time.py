"""How long a change of version takes, with every kind of client at work: from the upload to all traffic."""

import statistics
import time
from dataclasses import dataclass

import pytest

from digits.load import Load
from stage import MODEL, Stage
from watching import EndpointHistory, PodHistory

REPLICAS = 2
CHANGES = 10
REQUESTS = 50_000
CLIENTS = {"channels": 3, "keep_alive": 2, "connecting": 1, "connecting_grpc": 2}
"""A new gRPC channel for each request tells at once which version a new connection reaches."""


@dataclass(frozen=True)
class Change:
    """Moments of one change, in seconds of the monotonic clock.

    Attributes:
        begun: The upload was complete.
        first: The new version has answered a request.
        handed_over: The Service had no endpoint but R ready pods of the new version, and the Model said so.
        ended: Every old pod was gone.
    """

    version: int
    begun: float
    first: float
    handed_over: float
    ended: float

    def lasted(self, moment: float) -> float:
        return moment - self.begun


def change(stage: Stage, load: Load, endpoints: EndpointHistory, version: int) -> Change:
    stage.upload(version)
    begun = time.monotonic()
    pods = f"{MODEL}-v{version}-"
    stage.wait(
        f"every new request goes to version {version}",
        lambda: endpoints.failure or endpoints.handed_over(REPLICAS, pods),
        180,
    )
    stage.wait(
        f"the Model serves version {version} with all replicas",
        lambda: (
            (status := stage.status()).get("serving") == str(version)
            and status["ready"] == f"{REPLICAS}/{REPLICAS}"
        ),
    )
    handed_over = time.monotonic()
    stage.wait_serving(version)
    ended = time.monotonic()
    return Change(version, begun, load.tally.versions[version].first, handed_over, ended)


@pytest.mark.timeout(2400)
def test_ten_changes_of_two_replicas_under_load(stage: Stage) -> None:
    # A pod that drains keeps its GPU: with so many, no new pod has to wait for one.
    stage.offer_gpus(2 * REPLICAS)
    stage.upload(1)
    stage.create(
        poll="2s",
        settle="1s",
        transition={"policy": "AvailabilityPreserving"},
        serving={"replicas": REPLICAS},
    )
    stage.wait_serving(1)
    grpc, rest = stage.reachable()
    with (
        PodHistory(stage.kube, stage.namespace) as pods,
        EndpointHistory(stage.kube, stage.namespace, MODEL) as endpoints,
        Load(grpc, rest, MODEL, per_second=25, **CLIENTS) as load,
    ):
        changes = [change(stage, load, endpoints, version) for version in range(2, 2 + CHANGES)]
        stage.wait("enough requests were sent", lambda: load.tally.sent >= REQUESTS, 900)
    answers = load.tally.versions
    for one in changes:
        print(
            f"upload of version {one.version}: first answer after {one.lasted(one.first):.1f} s, "
            f"all traffic after {one.lasted(one.handed_over):.1f} s; last answer on an old connection "
            f"after {one.lasted(answers[one.version - 1].last):.1f} s, "
            f"old pods gone after {one.lasted(one.ended):.1f} s"
        )
    firsts = [one.lasted(one.first) for one in changes]
    alls = [one.lasted(one.handed_over) for one in changes]
    print(
        f"median of {CHANGES} changes with R={REPLICAS}, pollInterval 2 s, settle 1 s: "
        f"first answer {statistics.median(firsts):.1f} s, all traffic {statistics.median(alls):.1f} s "
        f"({min(alls):.1f} to {max(alls):.1f} s); {load.tally.sent} requests, {load.tally.failed} failed"
    )
    assert load.tally.failed == 0, load.tally.errors
    assert set(answers) == set(range(1, 2 + CHANGES))
    for one in changes:
        # A version answers from its upload on, and until the pods of the next one have replaced it.
        assert answers[one.version].first >= one.begun
        assert answers[one.version - 1].last <= one.ended
    assert pods.most_live <= REPLICAS + 1
    assert endpoints.fewest >= REPLICAS
