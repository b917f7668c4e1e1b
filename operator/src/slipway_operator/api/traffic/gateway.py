"""`spec.traffic` of a Model: how requests reach it from outside of the cluster."""

import re
from itertools import combinations
from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints

from slipway_operator.api.fields import NAME_PATTERN, ObjectName, ShortText, SpecType, object_names
from slipway_operator.api.rules import Rule, matches_cel, matching

_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
HOSTNAME_PATTERN: Final = rf"^([*][.])?{_LABEL}([.]{_LABEL})*$"
_ADDRESS_PATTERN: Final = r"^[0-9.]+$"
_NAMESPACE_PATTERN: Final = rf"^{_LABEL}$"
_NAMESPACE: Final = "__namespace__"
"""The field in CEL, where its name is a reserved word."""

Hostnames = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=253)]], Field(max_length=16)
]


def _are_names(hostnames: list[str]) -> bool:
    return all(
        re.fullmatch(HOSTNAME_PATTERN, name) and not re.fullmatch(_ADDRESS_PATTERN, name)
        for name in hostnames
    )


def _hostnames(field: str, attribute: str) -> Rule:
    return Rule(
        cel=f"self.{field}.all(h, {matches_cel('h', HOSTNAME_PATTERN)} && "
        f"!{matches_cel('h', _ADDRESS_PATTERN)})",
        holds=lambda gateway: _are_names(getattr(gateway, attribute)),
        message=f"{field}: a hostname is a DNS name in small letters, or one after *., and no address, for "
        "example digits.example.com",
    )


class ParentRef(SpecType):
    """A Gateway, or one of its listeners."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *object_names("name"),
        Rule(
            cel=f"self.{_NAMESPACE} == '' || {matches_cel(f'self.{_NAMESPACE}', _NAMESPACE_PATTERN)}",
            holds=lambda p: (
                p.namespace == "" or re.fullmatch(_NAMESPACE_PATTERN, p.namespace) is not None
            ),
            message="namespace is not a name of a namespace, such as ingress",
        ),
        matching(
            "sectionName",
            NAME_PATTERN,
            "sectionName is not a name of a listener, such as https: write only a-z, 0-9, - and .",
        ),
    )

    name: ObjectName
    """Name of the Gateway."""
    namespace: ShortText = ""
    """Its namespace; empty means the Model's. Its listeners must allow routes of the Model's namespace."""
    section_name: ShortText = ""
    """Name of a listener; empty means every one that takes such routes."""


class Gateway(SpecType):
    """Routes of the Gateway API: an HTTPRoute for REST and, with grpcHostnames, a GRPCRoute."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _hostnames("hostnames", "hostnames"),
        _hostnames("grpcHostnames", "grpc_hostnames"),
        # As the Gateway API has it, where a listener beside its whole Gateway is refused as well.
        Rule(
            cel="self.parentRefs.all(p, self.parentRefs.exists_one(q, q.name == p.name && "
            f"q.{_NAMESPACE} == p.{_NAMESPACE} && (q.sectionName == p.sectionName || "
            "q.sectionName == '' || p.sectionName == '')))",
            holds=lambda g: (
                not any(
                    (p.name, p.namespace) == (q.name, q.namespace)
                    and (
                        p.section_name == q.section_name or not (p.section_name and q.section_name)
                    )
                    for p, q in combinations(g.parent_refs, 2)
                )
            ),
            message="parentRefs contains duplicates; list each Gateway once, or else each of its listeners "
            "once, all with a sectionName",
        ),
    )

    parent_refs: Annotated[list[ParentRef], Field(min_length=1, max_length=8)]
    """Gateways that the routes are attached to."""
    hostnames: Hostnames = Field(default_factory=list, json_schema_extra={"default": []})
    """Hostnames of REST; empty means those of the listeners."""
    grpc_hostnames: Hostnames = Field(default_factory=list, json_schema_extra={"default": []})
    """Hostnames of gRPC, where the Model's name is in the message, so that each Model needs its own; empty
    means no GRPCRoute."""


class Traffic(SpecType):
    """How requests reach the Model from outside of the cluster."""

    gateway: Gateway | None = None
    """Routes of the Gateway API; if absent, there are none."""
