"""The page of metrics is that of both programs, and says something about each."""

from pathlib import Path

from prometheus_client import REGISTRY
from reference_pages.metrics import operator_rows, page, server_rows

import slipway_operator.metrics

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page()


def test_every_metric_of_the_operator_is_on_it_and_no_other() -> None:
    assert slipway_operator.metrics.MODELS
    registered = {
        family.name for family in REGISTRY.collect() if family.name.startswith("slipway_")
    }
    assert len(registered) > 8
    assert {name.removesuffix("_total") for name, *_ in operator_rows()} == registered


def test_every_metric_says_what_it_is_in_words_of_its_own() -> None:
    rows = [*operator_rows(), *server_rows()]
    assert len(rows) > 40
    assert [name for name, _, _, text in rows if len(text) < len("Examples")] == []
    names = [name for name, *_ in rows]
    assert len(set(names)) == len(names)


def test_labels_are_those_of_a_scrape() -> None:
    labels = {name: of for name, _, of, _ in [*operator_rows(), *server_rows()]}
    assert labels["slipway_operator_notifications_total"] == ("kind", "result")
    assert labels["slipway_run_seconds"] == ("model", "version", "signature", "method")
    assert labels[":tensorflow:serving:request_count"] == ("model_name", "status")
    assert labels["slipway_operator_models"] == ()
