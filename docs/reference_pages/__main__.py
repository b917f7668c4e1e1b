"""Prints one page, for `make generate`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reference_pages import chart_values
from slipway_operator.api.schema import reference

CHART: Final = Path(__file__).parents[2] / "charts" / "slipway"


def _chart_values() -> str:
    return chart_values.page(
        (CHART / "values.yaml").read_text("utf-8"),
        (CHART / "values.schema.json").read_text("utf-8"),
    )


def _metrics() -> str:
    from reference_pages import metrics  # noqa: PLC0415 (the others do without the server's packages)

    return metrics.page()


PAGES: Final[dict[str, Callable[[], str]]] = {
    "chart-values": _chart_values,
    "metrics": _metrics,
    "reasons": reference.reasons_page,
}

if __name__ == "__main__":
    sys.stdout.write(PAGES[sys.argv[1]]())
