"""Where a node keeps what it has."""

from pathlib import Path

from cluster.paths import LONGEST_STATE, state_of


def test_a_node_keeps_its_state_in_the_checkout() -> None:
    assert state_of(Path("/src/slipway")) == Path("/src/slipway/.local/cluster")


def test_a_checkout_with_a_long_path_has_its_state_elsewhere() -> None:
    long = Path("/srv") / ("x" * LONGEST_STATE)
    elsewhere = state_of(long)
    assert len(str(elsewhere)) <= LONGEST_STATE
    assert elsewhere != state_of(long.with_name("y" * LONGEST_STATE))
