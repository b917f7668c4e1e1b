"""When memory that requests have left is given back."""

import pytest

from slipway_server.servables.spare_memory import SpareMemory, resident_memory

SLACK = 100


class Process:
    """One with so much memory in use, and so much that is free and kept."""

    def __init__(self, used: int) -> None:
        self.used, self.kept, self.released = used, 0, 0

    def resident(self) -> int:
        return self.used + self.kept

    def release(self) -> None:
        self.kept = 0
        self.released += 1


@pytest.fixture
def process() -> Process:
    return Process(400)


@pytest.fixture
def spare(process: Process) -> SpareMemory:
    return SpareMemory(process.resident, process.release, SLACK)


def test_what_a_burst_has_left_is_given_back_once_it_is_over(
    process: Process, spare: SpareMemory
) -> None:
    process.kept = 900
    spare.look()
    assert process.released == 0, "it may still grow"
    spare.look()
    assert (process.released, process.resident()) == (1, 400)


def test_a_little_is_kept_for_the_next_request(process: Process, spare: SpareMemory) -> None:
    process.kept = SLACK
    for _ in range(3):
        spare.look()
    assert process.released == 0


def test_a_model_that_was_loaded_is_looked_at_once(process: Process, spare: SpareMemory) -> None:
    process.used = 2400
    for _ in range(5):
        spare.look()
    assert process.released == 1


def test_a_burst_after_an_unload_counts_from_there(process: Process, spare: SpareMemory) -> None:
    process.used = 2400
    for _ in range(3):
        spare.look()
    process.used = 300
    spare.look()
    process.kept = 200
    for _ in range(2):
        spare.look()
    assert (process.released, process.kept) == (2, 0)


def test_the_kernel_tells_this_process_its_size() -> None:
    assert 10 << 20 < resident_memory() < 1 << 40
