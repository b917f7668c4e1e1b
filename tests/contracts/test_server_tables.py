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


FORMS = 2
"""Predict over gRPC is asked in typed fields and in tensor_content."""


def test_there_are_enough_exchanges() -> None:
    over_rest = sum(len(table) for table in TABLES.values())
    over_grpc = FORMS * (len(BOTH) + len(KINDS)) + len(EXAMPLES)
    assert over_rest >= 250
    assert over_grpc >= 160


@pytest.mark.parametrize("name", TABLES)
def test_rows_have_names_of_their_own(name: str) -> None:
    names = [row[0] for row in TABLES[name]]
    assert len(set(names)) == len(names)


def test_rest_rows_are_requests_of_their_own() -> None:
    asked = [repr(row[1]) for row in (*REST_PREDICT, *REST_BODIES, *REST_PATHS)]
    assert len(set(asked)) == len(asked)
