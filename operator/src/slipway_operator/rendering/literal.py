"""Containers whose strings arrive as they are written: the kubelet would expand them otherwise."""

from typing import Any


def literal(container: dict[str, Any]) -> dict[str, Any]:
    """The container with arguments and environment that the kubelet leaves as they are written here.

    It replaces $(NAME) by a variable and $$ by $ in both. Every container of ours passes through here, once.

    >>> literal({"args": ["--source=s3://a/$(HOME)"], "env": [{"name": "A", "value": "pa$$word"}]})
    {'args': ['--source=s3://a/$$(HOME)'], 'env': [{'name': 'A', 'value': 'pa$$$$word'}]}
    """
    changed = container | {"args": [_escaped(argument) for argument in container["args"]]}
    if "env" in container:
        changed["env"] = [entry | {"value": _escaped(entry["value"])} for entry in container["env"]]
    return changed


def _escaped(text: str) -> str:
    return text.replace("$", "$$")
