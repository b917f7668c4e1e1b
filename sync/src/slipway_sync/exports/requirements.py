"""What a Model asks of its exports beside their being whole."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_TAGS = ("serve",)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What an export is judged by.

    Attributes:
        tags: The tag set of the graph that is to be loaded; order does not matter.
        public_keys: Ed25519 keys, 32 bytes each; where there are any, one of them has to have
            signed the manifest, and the manifest has to name every file.
        marker: Name of an object that has to be there, or "".
    """

    tags: tuple[str, ...] = DEFAULT_TAGS
    public_keys: tuple[bytes, ...] = field(default=(), repr=False)
    marker: str = ""
