"""§9: what a batch fails with, and that it leaves nothing behind."""

from __future__ import annotations

import gc
import time
import weakref

import pytest

from slipway_server.batching.parameters import BatchingParameters
from slipway_server.batching.queues import Batch
from slipway_server.batching.scheduler import BatchScheduler, WaitingRequest, WorkQueue
from slipway_server.errors import Code, ServingError


class Request(WaitingRequest):
    """One that a test can see vanish."""


def fails(_batch: Batch) -> None:
    raise ServingError(Code.FAILED_PRECONDITION, "broken")


def breaks(_batch: Batch) -> None:
    raise KeyError("x")


@pytest.mark.parametrize(
    ("work", "code", "message"),
    [
        (fails, Code.FAILED_PRECONDITION, "broken"),
        (breaks, Code.INTERNAL, "KeyError: 'x'"),
    ],
)
@pytest.mark.parametrize("timeout", [0.0, 0.001])
def test_a_request_that_fails_is_gone_without_the_garbage_collector(
    work: object, code: Code, message: str, timeout: float
) -> None:
    scheduler = BatchScheduler(1)
    queue = WorkQueue(
        BatchingParameters(max_batch_size=4, batch_timeout=timeout),
        work,  # type: ignore[arg-type]
    )
    gc.disable()
    try:
        request = Request(1)
        gone = weakref.ref(request)
        with pytest.raises(ServingError) as error:
            scheduler.run(queue, request)
        assert (error.value.code, error.value.message) == (code, message)
        del request, error
        # A thread of the pool that has run the batch needs a moment to let go of it.
        end = time.monotonic() + 20
        while gone() is not None:
            assert time.monotonic() < end
            time.sleep(0.001)
    finally:
        gc.enable()
        scheduler.close()
