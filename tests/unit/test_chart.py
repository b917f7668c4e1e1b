"""What the guide says of the chart is what the chart has."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "charts" / "slipway" / "templates"
PAGE = ROOT / "docs" / "guide" / "install.md"

Permission = tuple[str, str, str]
"""API group, resource and verb."""


def permissions(rules: list[dict[str, Any]]) -> list[Permission]:
    return [
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def of_the_operator() -> list[Permission]:
    """Those of `slipway.rules`, which is YAML without template actions."""
    text = (TEMPLATES / "_helpers.tpl").read_text()
    [rules] = re.findall(r'define "slipway\.rules" -}}\n(.*?){{- end -}}', text, flags=re.DOTALL)
    assert "{{" not in rules
    return permissions(yaml.safe_load(rules))


def of_the_page() -> list[Permission]:
    """Those of the table with the columns API group, resource and verbs; core stands for ""."""
    text = PAGE.read_text()
    _, _, rows = text.partition("| API group | Resource | Verbs |")
    table = rows.partition("\n\n")[0].splitlines()[2:]
    found = []
    for row in table:
        group, resources, verbs, *_ = (cell.strip() for cell in row.strip("|").split("|"))
        group = group.strip("`")
        for resource in re.findall(r"`([^`]+)`", resources):
            found += [
                ("" if group == "core" else group, resource, verb) for verb in verbs.split(", ")
            ]
    return found


def test_the_table_of_permissions_is_that_of_the_chart() -> None:
    page, chart = of_the_page(), of_the_operator()
    assert len(chart) > 20
    assert sorted(page) == sorted(chart)


def unknown(shown: Any, known: Any, path: str = "") -> list[str]:
    """Values that the chart lacks, by their paths."""
    if not isinstance(shown, dict) or not known:
        return []
    return [
        found
        for key, value in shown.items()
        for found in (
            unknown(value, known[key], f"{path}.{key}") if key in known else [f"{path}.{key}"]
        )
    ]


def test_values_files_that_the_guide_shows_are_of_the_chart() -> None:
    known = yaml.safe_load((ROOT / "charts" / "slipway" / "values.yaml").read_text())
    text = PAGE.read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    values = [found for block in blocks if "kind" not in (found := yaml.safe_load(block))]
    assert values
    assert [path for shown in values for path in unknown(shown, known)] == []
    assert unknown({"networkPolicy": {"on": 1}}, known) == [".networkPolicy.on"]


def test_the_charts_readme_names_every_value() -> None:
    readme = (ROOT / "charts" / "slipway" / "README.md").read_text()
    known = yaml.safe_load((ROOT / "charts" / "slipway" / "values.yaml").read_text())
    assert set(known) == set(re.findall(r"`(\w+)`", readme.partition("| --- |")[2]))


def test_the_page_of_alerts_is_about_those_of_the_chart() -> None:
    groups = yaml.safe_load((ROOT / "charts/slipway/files/alerts.yaml").read_text())["groups"]
    page = (ROOT / "docs" / "guide" / "monitoring.md").read_text()
    named = re.findall(r"^\| `(Slipway\w+)` \|", page, flags=re.MULTILINE)
    assert named == [rule["alert"] for group in groups for rule in group["rules"]]


def test_the_namespaced_installation_comes_first() -> None:
    commands = re.findall(r"^helm install .*?(?<!\\)$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    first, *others = commands
    assert "namespaces={" in first
    assert any("namespaces={" not in command for command in others)
