"""Names of objects that somebody with a grudge would choose: more than 200, and which of them must not be followed."""

from __future__ import annotations

from itertools import product
from typing import Final

_PARENTS: Final = (
    "..",
    "../",
    "../../",
    "../../../../../../",
    "assets/../",
    "assets/../../",
    "./",
    "variables/./",
)
_TARGETS: Final = (
    "variables/../../y",
    "a\nb",
    "etc/passwd",
    "3/x",
    "4",
    ".slipway-3.json",
    "assets/words.txt",
    "x",
)
_CONTROLS: Final = (*range(1, 32), 0x7F, *range(0x80, 0xA0))
_DRIVES: Final = ("a:b", "C:/x", "c:\\x", "Z:", "d:x/y", "C:..\\x")

HOSTILE: Final[tuple[str, ...]] = tuple(
    dict.fromkeys(
        (
            *(f"{parent}{target}" for parent, target in product(_PARENTS, _TARGETS)
              if parent != ".."),
            "..", ".", "a/..", "a/.", "a/../b", "a/./b", "a/b/..", "../..", "./.", ".././..",
            *(f"/{target}" for target in ("x", "etc/passwd", "../x", "tmp/x", "proc/self/mem")),
            "//x", "///", "//server/share", "a//b", "a///b", "a/b//c",
            "a\\b", "..\\x", "..\\..\\x", "\\x", "\\\\server\\share", "a/..\\b", "\\..\\x", "a\\",
            "%2e%2e\\x", "assets\\words.txt",
            *_DRIVES,
            "a\0b", "\0", "assets/words.txt\0.pb", "a/\0/b",
            *(f"a{chr(code)}b" for code in _CONTROLS),
            "a\n", "\na", "a\r\nb", "a/\tb", "\x1b[2J", "\x1b]0;title\x07",
            "a\u2028b", "a\u2029b", "a\u0085b",
            *(f"a{mark}b" for mark in "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"),
            "gpj.\u202excod", "\u202e/x",
            "n" * 256, "n" * 1000, "a/" + "n" * 300, "ü" * 128, "😀" * 64, "n" * 256 + "/x",
            "/".join(["n" * 100] * 11), "a/" * 600 + "b", "/".join("n" * 520),
            *(f"saved_model.pb/{target}" for target in ("x", "y/z", "-", "...")),
            "variables/variables.index/x", "assets.extra/empty/x",
            "variables/variables.data-00000-of-00002/x", "a/\x7f/b", "\\", "/",
        )
    )
)  # fmt: skip
"""Each is wrong by itself or clashes with a file of an ordinary export."""

HARMLESS: Final[tuple[str, ...]] = tuple(
    dict.fromkeys(
        (
            "-rf", "--", "--help", "-", "assets/-o/--output=x",
            ".slipway-3.json", ".slipway-3-0123456789ab.partial/files/x", ".slipway.lock", "journal.jsonl",
            "files/x", "assets/.slipway-3.json", "..a", "a..", "...", "a...", "....", "...../x", "..c/b", "c../b",
            "%2e%2e", "%2e%2e%2f", "d%2e/x", "%2E%2E%2Fx", "a%00b", "%", "%zz", "a%2fb", "%252e%252e", "a%0ab",
            "a b", " a", "a ", "a.", "a. ", "d/ b/ c", " ", "   /  ",
            "~", "~root", "$HOME", "${HOME}", "$(id)", "`id`", "a;b", "a|b", "a&b", "a>b", "a<b", "*", "?", "[a]",
            "{a,b}", "'", '"', "a'b\"c", "#x", "a#b", "a?b", "a=b", "a+b", "a,b", "a@b", "!x", "^", ":x",
            "con", "NUL", "aux.txt", "com1", "LPT9.log", "desktop.ini", ".git/config", ".ssh/authorized_keys",
            "é", "e\u0301", "ﬁ", "Ａ", "ı", "İ", "ß", "SS", "Ω", "\u2126", "\u200bx", "x\u200d", "\ufeffx", "\u00ad",
            "日本語", "😀", "ä" * 127, "n" * 255, "A", "a", "Variables2/x", "a\u3000b", "\u00a0",
            "index.json", "SHA256SUMS.old", "__proto__", "constructor", "null", "true", "0", "-1", "1e3", "NaN",
            "a.pb.tmp", ".", "..",
        )[:-2]
    )
)  # fmt: skip
"""Odd, but they stay where they belong; a sync brings them as they are."""
