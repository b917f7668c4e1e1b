"""Command line: `python -m fuzz TARGET [--seconds N] [--mutations N] [--seed N]`."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

CORPUS = Path(__file__).parents[2] / "corpus"


def corpus(name: str) -> list[bytes]:
    """Return the committed inputs of a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def inputs(name: str, mutations: int, seed: int = 0) -> Iterator[bytes]:
    """Return a target's committed inputs, each followed by mutations of it."""
    from fuzz.mutation import mutated

    found = corpus(name)
    random = Random(seed)  # noqa: S311 - the same every time
    for data in found:
        yield data
        for _ in range(mutations):
            yield mutated(data, found, random)


def target(name: str, directory: Path | None = None) -> Any:
    """Build a target by name."""
    from fuzz.light import LIGHT
    from fuzz.oracle import guarded

    if name in LIGHT:
        return guarded(LIGHT[name])
    from fuzz.served import SERVED

    def models() -> Path:
        if directory is not None:
            return directory
        import savedmodels
        from example_models import save_examples

        root = Path(tempfile.mkdtemp(prefix="fuzz-"))
        savedmodels.save_double(root / "double" / "1", 1)
        savedmodels.save_kinds(root / "kinds" / "1")
        save_examples(root / "examples" / "1")
        return root

    return guarded(SERVED[name](models))


def main() -> None:
    """Run one target."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("more", nargs="*", help="further targets, without --seconds")
    parser.add_argument("--seconds", type=float, default=0.0, help="0: the corpus once")
    parser.add_argument("--mutations", type=int, default=0, help="of each file, without --seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, help="directory with exported models, else made")
    parser.add_argument("--chance", action="store_true", help="no atheris")
    asked = parser.parse_args()
    # What TensorFlow says of every bad request would bury a finding.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not asked.seconds:
        for name in (asked.target, *asked.more):
            run = target(name, asked.models)
            count = 0
            for data in inputs(name, asked.mutations, asked.seed):
                _try(run, data, name)
                count += 1
            print(f"{name}: {count} inputs", flush=True)  # noqa: T201 - a program's answer
        return
    try:
        atheris: Any = None if asked.chance else importlib.import_module("atheris")
    except ImportError:
        atheris = None
    if atheris is not None:
        with atheris.instrument_imports(include=["slipway_server"]):
            run = target(asked.target, asked.models)
        scratch = tempfile.mkdtemp(prefix=f"fuzz-{asked.target}-")
        options = [
            f"-max_total_time={asked.seconds:.0f}",
            "-max_len=65536",
            "-timeout=30",
            "-rss_limit_mb=8192",
        ]
        atheris.Setup([sys.argv[0], scratch, str(CORPUS / asked.target), *options], run)
        atheris.Fuzz()
        return
    run = target(asked.target, asked.models)
    random, found = Random(asked.seed), corpus(asked.target)  # noqa: S311 - likewise
    from fuzz.mutation import mutated

    deadline, count = time.monotonic() + asked.seconds, 0
    while time.monotonic() < deadline:
        _try(run, mutated(random.choice(found), found, random), asked.target)
        count += 1
    print(f"{asked.target}: {count} inputs")  # noqa: T201 - likewise


def _try(run: Any, data: bytes, name: str) -> None:
    # Also kept when the process does not survive it.
    last = Path(tempfile.gettempdir()) / f"fuzz-last-{name}"
    last.write_bytes(data)
    try:
        run(data)
    except BaseException:
        kept = last.with_name(f"fuzz-{name}-{hashlib.sha256(data).hexdigest()[:12]}")
        kept.write_bytes(data)
        print(f"finding: {kept}", file=sys.stderr)  # noqa: T201 - likewise
        raise


if __name__ == "__main__":
    main()
