"""Why pods do not become ready: each check, their order, and the clock of the deadline."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from slipway_operator.api.conditions import Reason
from slipway_operator.api.status import VersionState
from slipway_operator.model.observed import Container, ContainerState, Deployment, Pod
from slipway_operator.planning.versions.diagnosis import (
    deadline,
    diagnose,
    not_created,
    server_message,
)
from slipway_sync.exports import ExitCode, SyncOutcome

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIMIT = timedelta(minutes=10)
WAITING, RUNNING = ContainerState.WAITING, ContainerState.RUNNING


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def outcome(reason: str, message: str) -> str:
    return SyncOutcome(reason, message, "f", "", "r", 0).render()


SYNCED = Container(ContainerState.TERMINATED, exit_code=0, finished_at=at(30))
NEW = Pod(name="p", uid="1", servable="v2-k", version=2, created_at=T0)
PLACED = replace(NEW, scheduled_at=at(1), sync=Container(RUNNING))
LOADING = replace(PLACED, sync=SYNCED, server=Container(RUNNING))
READY = replace(LOADING, ready=True, ready_at=at(60))
NO_ROOM = replace(NEW, unschedulable="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
LOAD_FAILED = replace(
    LOADING,
    server=Container(
        WAITING, "CrashLoopBackOff", restarts=1, exit_code=65,
        exit_message='{"reason": "LoadFailed", "message": "NodeDef mentions an unknown op"}',
    ),
)  # fmt: skip
KILLED = replace(
    LOADING,
    server=Container(
        WAITING, "CrashLoopBackOff", restarts=3, exit_code=137, exit_reason="OOMKilled"
    ),
)
NO_STORE = replace(
    PLACED,
    sync=Container(
        WAITING, "CrashLoopBackOff", exit_code=ExitCode.SOURCE_UNAVAILABLE,
        exit_message=outcome("SourceUnavailable", "no answer from s3.test"),
    ),
)  # fmt: skip
REJECTED = replace(
    PLACED,
    sync=Container(
        WAITING, "CrashLoopBackOff", exit_code=ExitCode.REJECTED,
        exit_message=outcome("ShardTooShort", "variables/variables.data-00000-of-00001 is short"),
    ),
)  # fmt: skip
NO_IMAGE = replace(PLACED, sync=Container(WAITING, "ImagePullBackOff", "not found"))
LOST = replace(LOADING, lost="gpu-7")


def test_out_of_memory_says_which_limit_to_raise_and_shows_no_log() -> None:
    server = replace(KILLED.server, exit_message="2026-03-01 I loading\n" * 90)
    found = diagnose([replace(KILLED, server=server, memory_limit="1500Mi")])
    assert found is not None
    assert found.message.endswith(
        "last with OOMKilled (exit code 137): it needs more than its memory limit of 1500Mi: raise "
        "spec.serving.resources.limits.memory"
    )


def test_out_of_memory_without_a_limit_is_the_nodes() -> None:
    found = diagnose([KILLED])
    assert found is not None
    assert found.message.endswith(
        "it has no memory limit, and its node had no more: set spec.serving.resources.requests.memory "
        "to what it needs"
    )


@pytest.mark.parametrize(
    ("pod", "state", "reason", "says", "final"),
    [
        (REJECTED, VersionState.REJECTED, "ShardTooShort", "variables.data-00000", True),
        (LOAD_FAILED, VersionState.FAILED, Reason.LOAD_FAILED, "NodeDef mentions an unknown op", True),
        (KILLED, VersionState.FAILED, Reason.CRASHED, "crashed 3 time(s), last with OOMKilled", True),
        (NO_ROOM, VersionState.UNSCHEDULABLE, Reason.UNSCHEDULABLE, "Insufficient nvidia.com/gpu", False),
        (NO_IMAGE, VersionState.LOADING, Reason.POD_CANNOT_START, "ImagePullBackOff: not found", False),
        (NO_STORE, VersionState.SYNCING, "SourceUnavailable", "no answer from s3.test", False),
        (LOST, VersionState.LOADING, Reason.NODE_LOST, "node gpu-7 of pod p no longer reports", False),
    ],
)  # fmt: skip
def test_a_finding_names_the_state_the_reason_and_the_pods_own_words(
    pod: Pod,
    state: VersionState,
    reason: str,
    says: str,
    final: bool,  # noqa: FBT001
) -> None:
    finding = diagnose([pod])
    assert finding is not None
    assert (finding.state, finding.reason, finding.final) == (state, reason, final)
    assert says in finding.message


@pytest.mark.parametrize(
    "pod", [NEW, PLACED, LOADING, READY], ids=["new", "placed", "loading", "ready"]
)
def test_a_pod_on_its_way_has_nothing_to_tell(pod: Pod) -> None:
    assert diagnose([pod]) is None


@pytest.mark.parametrize(
    ("first", "second", "wins"),
    [
        (REJECTED, LOAD_FAILED, "ShardTooShort"),
        (LOAD_FAILED, KILLED, "LoadFailed"),
        (KILLED, NO_ROOM, "Crashed"),
        (NO_ROOM, NO_IMAGE, "Unschedulable"),
        (NO_IMAGE, NO_STORE, "PodCannotStart"),
    ],
)
def test_the_more_telling_finding_wins_whichever_pod_is_older(
    first: Pod, second: Pod, wins: str
) -> None:
    younger = replace(first, name="q", uid="2", created_at=at(99))
    for pods in ([younger, second], [second, younger]):
        finding = diagnose(pods)
        assert finding is not None
        assert finding.reason == wins


def test_what_comes_in_place_of_an_evicted_pod_says_why() -> None:
    words = "Taint manager: deleting due to NoExecute taint"
    going = replace(READY, name="q", uid="2", terminating=True, evicted=words)
    found = diagnose([going, LOADING])
    assert found is not None
    assert (found.reason, found.final) == (Reason.POD_EVICTED, False)
    assert found.message == f"pod q is being removed from its node: {words}"
    assert diagnose([going]) is None
    assert diagnose([going, READY]) is None
    unplaced = diagnose([going, NO_ROOM])
    assert unplaced is not None
    assert unplaced.reason == Reason.UNSCHEDULABLE


def test_the_deadline_does_not_run_while_the_node_is_lost() -> None:
    assert deadline([LOADING], LIMIT) is not None
    assert deadline([LOST], LIMIT) is None


def test_pods_that_are_ready_or_going_do_not_count() -> None:
    assert diagnose([replace(LOAD_FAILED, ready=True), replace(KILLED, terminating=True)]) is None


@pytest.mark.parametrize(("reason", "urgent"), [("OOMKilled", True), ("Error", False)])
def test_too_little_memory_is_told_at_once(reason: str, urgent: bool) -> None:  # noqa: FBT001
    server = replace(KILLED.server, restarts=1, exit_reason=reason)
    finding = diagnose([replace(KILLED, server=server)])
    assert finding is not None
    assert (finding.urgent, finding.final) == (urgent, False)


@pytest.mark.parametrize(("restarts", "final"), [(1, False), (2, False), (3, True)])
def test_a_crash_or_two_may_be_the_nodes_fault(restarts: int, final: bool) -> None:  # noqa: FBT001
    finding = diagnose([replace(KILLED, server=replace(KILLED.server, restarts=restarts))])
    assert finding is not None
    assert finding.final is final


@pytest.mark.parametrize(
    ("container", "says"),
    [
        (Container(exit_code=1, exit_message="Segmentation fault\n in libcuda"), "Segmentation fault in libcuda"),
        (Container(exit_code=1, exit_message='{"reason": "x"}'), '{"reason": "x"}'),
        (Container(exit_code=1, exit_message='["x"]'), '["x"]'),
        (Container(exit_code=1, exit_reason="Error"), "Error"),
        (Container(exit_code=9), "exit code 9"),
    ],
)  # fmt: skip
def test_a_server_that_left_no_sentence_is_still_quoted(container: Container, says: str) -> None:
    assert server_message(container) == says


def test_a_log_is_cut_to_a_sentence() -> None:
    assert len(server_message(Container(exit_code=1, exit_message="x" * 5000))) <= 900


# The deadline --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pods", "from_when"),
    [
        ([NEW], 0),  # not scheduled and not refused: it should have been
        ([replace(NEW, scheduled_at=at(7))], 7),  # the kubelet has not begun
        ([LOADING], 30),  # since its files came
        ([LOADING, replace(READY, ready_at=at(90))], 90),  # another pod came up: that is progress
        ([LOADING, replace(PLACED, created_at=at(40), scheduled_at=at(45))], 45),
        ([replace(LOADING, server=Container(WAITING, restarts=1, exit_code=139))], 30),
    ],
)
def test_the_clock_runs_from_the_last_progress(pods: list[Pod], from_when: float) -> None:
    assert deadline(pods, LIMIT) == at(from_when) + LIMIT


@pytest.mark.parametrize(
    "pods",
    [[], [READY], [NO_ROOM], [PLACED], [NO_STORE], [replace(LOADING, terminating=True)]],
    ids=["none", "ready", "unschedulable", "bytes move", "store down", "going"],
)
def test_the_clock_stands_while_nothing_is_the_versions_fault(pods: list[Pod]) -> None:
    assert deadline(pods, LIMIT) is None


def test_a_sync_that_fails_over_and_over_for_another_reason_runs_out_of_time() -> None:
    full = replace(
        PLACED, sync=Container(WAITING, exit_code=ExitCode.VOLUME_ERROR, finished_at=at(99))
    )
    assert deadline([full], LIMIT) == at(1) + LIMIT


NAME = 'pods "digits-v2-5d9c-x7k2p" is forbidden'


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            (
                f"{NAME}: exceeded quota: team, requested: requests.nvidia.com/gpu=1, used: "
                "requests.nvidia.com/gpu=2, limited: requests.nvidia.com/gpu=2"
            ),
            Reason.UNSCHEDULABLE,
        ),
        (
            f"{NAME}: failed quota: team: must specify limits.memory for: server",
            Reason.ADMISSION_REFUSED,
        ),
        (
            f"{NAME}: maximum memory usage per Container is 1Gi, but limit is 8Gi",
            Reason.LIMIT_RANGE_EXCEEDED,
        ),
        (
            (
                f"{NAME}: [minimum cpu usage per Pod is 2, but request is 1, maximum cpu usage per Pod is 4, but "
                "limit is 8]"
            ),
            Reason.LIMIT_RANGE_EXCEEDED,
        ),
        (
            f"{NAME}: cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
            Reason.LIMIT_RANGE_EXCEEDED,
        ),
        (
            (
                f'{NAME}: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
                '(container "server" must set securityContext.allowPrivilegeEscalation=false)'
            ),
            Reason.POD_SECURITY_VIOLATION,
        ),
        (
            'admission webhook "validate.kyverno.svc-fail" denied the request: image is not signed',
            Reason.ADMISSION_REFUSED,
        ),
        (
            (
                'Internal error occurred: failed calling webhook "v.example.com": failed to call webhook: Post '
                '"https://v.example.svc:443/?timeout=10s": service "v" not found'
            ),
            Reason.ADMISSION_REFUSED,
        ),
        (f"{NAME}: no PriorityClass with name fast was found", Reason.ADMISSION_REFUSED),
        (
            f'{NAME}: error looking up service account ml/digits: serviceaccount "digits" not found',
            Reason.ADMISSION_REFUSED,
        ),
    ],
)
def test_why_a_pod_is_not_admitted(words: str, reason: Reason) -> None:
    refused = Deployment(
        name="digits-v2-k",
        uid="u",
        servable="v2-k",
        version=2,
        key="k",
        revision="r",
        directory="2",
        replicas=1,
        created_at=T0,
        refused=words,
    )
    found = not_created(refused, [])
    assert found is not None
    assert (found.state, found.reason) == (VersionState.UNSCHEDULABLE, reason)
    assert found.message == f"a pod cannot be created: {words}"
    assert not_created(refused, [NEW]) is None
