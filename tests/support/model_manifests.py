"""The table of good and bad Models, `tests/contracts/model_manifests.yaml`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

TABLE: Final = Path(__file__).parents[1] / "contracts" / "model_manifests.yaml"


@dataclass(frozen=True, slots=True)
class Case:
    """A Model and what every validator must answer; neither `says` nor `at` for a good one."""

    case: str
    name: str
    spec: dict[str, Any]
    says: str
    at: str

    @property
    def good(self) -> bool:
        return not self.says and not self.at

    @property
    def manifest(self) -> dict[str, Any]:
        return {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "Model",
            "metadata": {"name": self.name, "namespace": "default"},
            "spec": self.spec,
        }


def _case(row: dict[str, Any]) -> Case:
    spec: dict[str, Any] = {"source": {}} | dict(row.get("spec") or {})
    if spec["source"] is not None:
        spec["source"] = {"uri": "s3://models/mnist"} | spec["source"]
    return Case(
        case=row["case"],
        name=row.get("name", "mnist"),
        spec=spec,
        says=row.get("says", ""),
        at=row.get("at", ""),
    )


CASES: Final = tuple(_case(row) for row in yaml.safe_load(TABLE.read_text()))
GOOD: Final = tuple(case for case in CASES if case.good)
BAD: Final = tuple(case for case in CASES if not case.good)


def without_empty(value: Any) -> Any:
    """A spec without its empty lists and maps, and without nulls: absent means the same."""
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    cleaned = {key: without_empty(item) for key, item in value.items()}
    return {key: item for key, item in cleaned.items() if item not in ({}, [], None)}
