"""How the kubelet expands references in a container's command, arguments and environment.

After Kubernetes' third_party/forked/golang/expansion/expand.go, byte by byte.
"""

from collections.abc import Mapping

_OPERATOR, _OPENER, _CLOSER = b"$", b"(", b")"


def expand(text: str, variables: Mapping[str, str] | None = None) -> str:
    """What a container gets for `text`; a reference to an unknown variable stays as it is.

    >>> expand("$(NAME) $$(NAME) $(NONE) $", {"NAME": "ada"})
    'ada $(NAME) $(NONE) $'
    """
    known = variables or {}
    data, out, cursor = text.encode(), b"", 0
    while cursor < len(data):
        here, rest = data[cursor : cursor + 1], data[cursor + 1 :]
        cursor += 1
        if here != _OPERATOR or not rest:
            out += here
        elif rest[:1] == _OPERATOR:
            out += _OPERATOR
            cursor += 1
        elif rest[:1] != _OPENER:
            # Go makes a character of the one byte, which is the end of every other letter's UTF-8.
            out += _OPERATOR + chr(rest[0]).encode()
            cursor += 1
        elif _CLOSER not in rest:
            out += _OPERATOR + _OPENER
            cursor += 1
        else:
            name = rest[1 : rest.index(_CLOSER)].decode()
            out += known.get(name, f"$({name})").encode()
            cursor += len(name.encode()) + 2
    return out.decode(errors="replace")
