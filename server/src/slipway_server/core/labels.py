"""Which version labels may be set. Pure.

A label is a wish by default: it may name a version that is not loaded yet, and requests for it are answered once it is.
TensorFlow Serving's own rule, under which a label follows only what already serves, is there for who asks for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway_server.errors import Code, ServingError

Labels = Mapping[str, Mapping[str, int]]
"""Model → label → version."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What labels may name.

    Attributes:
        allowed: whether there may be labels at all.
        strict: whether only versions that are available when the label is set.
        new_may_wait: under the strict rule, a label that is new or stays where it is may name another version, too.
        all_may_wait: the strict rule is off after all, as TensorFlow Serving's hidden option turns it off.
    """

    allowed: bool = True
    strict: bool = False
    new_may_wait: bool = False
    all_may_wait: bool = False


def check_labels(
    wanted: Labels, present: Labels, available: Callable[[str, int], bool], rule: LabelRule
) -> None:
    """Refuse labels that the rule does not allow.

    Args:
        wanted: the labels to set.
        present: the labels whose place they take.
        available: whether a version of a model answers now.
        rule: which labels are allowed.

    Raises:
        ServingError: FAILED_PRECONDITION; then no label may change.
    """
    if not rule.allowed and any(wanted.values()):
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "Model version labels are not currently allowed by the server.",
        )
    if not rule.strict or rule.all_may_wait:
        return
    for model, labels in wanted.items():
        for label, version in labels.items():
            unmoved = present.get(model, {}).get(label, version) == version
            if not (available(model, version) or (rule.new_may_wait and unmoved)):
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {model}, which is not currently available "
                    "for inference",
                )
