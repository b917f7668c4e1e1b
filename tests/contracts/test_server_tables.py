"""How much the tables of exchanges cover: at least 300 requests and answers, and both protocols."""

from __future__ import annotations

from typing import Any

import pytest

from server_exchanges.examples import EXAMPLES
from server_exchanges.kinds import KINDS
from server_exchanges.predict import BOTH
from server_exchanges.rest_bodies import REST_BODIES
from server_exchanges.rest_paths import REST_PATHS
from server_exchanges.rest_predict import REST_PREDICT

TABLES: dict[str, list[Any]] = {
    "predict": BOTH,
    "examples": EXAMPLES,
    "REST predict": REST_PREDICT,
    "REST bodies": REST_BODIES,
    "REST paths": REST_PATHS,
}


def test_there_are_enough_exchanges() -> None:
    shared = len(BOTH) + len(EXAMPLES)
    over_rest = shared + len(REST_PREDICT) + len(REST_BODIES) + len(REST_PATHS)
    over_grpc = shared + 2 * len(KINDS)
    assert over_rest + over_grpc >= 400
    assert min(over_rest, over_grpc) >= 130


@pytest.mark.parametrize("name", TABLES)
def test_rows_have_names_of_their_own(name: str) -> None:
    names = [row[0] for row in TABLES[name]]
    assert len(set(names)) == len(names)


def test_rest_rows_are_requests_of_their_own() -> None:
    asked = [repr(row[1]) for row in (*REST_PREDICT, *REST_BODIES, *REST_PATHS)]
    assert len(set(asked)) == len(asked)
