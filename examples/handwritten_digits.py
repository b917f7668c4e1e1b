"""Handwritten digits of 28×28 pixels: scikit-learn's, or the reader's own MNIST files.

scikit-learn brings 1 797 real digits of 8×8 pixels, so nothing has to be downloaded. They are enlarged to MNIST's
28×28 pixels: a model takes either, and so does a client.
"""

import argparse
import gzip
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

SIDE = 28
PIXELS = SIDE * SIDE
CLASSES = 10
TEST_IMAGES = 1000

_IDX_FILES = {
    "x_train": ("train-images", "idx3", 2051),
    "y_train": ("train-labels", "idx1", 2049),
    "x_test": ("t10k-images", "idx3", 2051),
    "y_test": ("t10k-labels", "idx1", 2049),
}
"""Part of the data → name of its file, name of its kind, and the number that such a file begins with."""


class Digits(NamedTuple):
    """Images as float32 [n, 784] in [0, 1], labels as int64 [n]."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which digits are used."""
    parser.add_argument(
        "--data",
        choices=("digits", "mnist"),
        default="digits",
        help="digits: scikit-learn's; mnist: your own files, from --work_dir (default: digits)",
    )
    parser.add_argument(
        "--work_dir",
        type=Path,
        default=Path("/tmp"),  # noqa: S108 - where the public tutorial's client keeps them
        help="folder with mnist.npz or MNIST's four IDX files, packed or not (default: /tmp)",
    )


def load(data: str = "digits", work_dir: Path = Path()) -> Digits:
    """Return the digits that the flags ask for, in the same order every time.

    Raises:
        SystemExit: the files are missing or no MNIST files; the sentence says which.
    """
    return _mnist(work_dir) if data == "mnist" else _scikit_learn()


def _scikit_learn() -> Digits:
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    digits = load_digits()
    large = zoom(digits.images / 16.0, (1, 3, 3), order=1)
    images = np.pad(large, ((0, 0), (2, 2), (2, 2))).reshape(-1, PIXELS).astype(np.float32)
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return Digits(
        images[TEST_IMAGES:], labels[TEST_IMAGES:], images[:TEST_IMAGES], labels[:TEST_IMAGES]
    )


def _mnist(folder: Path) -> Digits:
    packed = folder / "mnist.npz"
    if packed.exists():
        try:
            with packed.open("rb") as file, np.load(file) as arrays:
                parts = {part: arrays[part] for part in _IDX_FILES}
        except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise SystemExit(
                f"{packed} must hold the arrays {', '.join(_IDX_FILES)}, as Keras's mnist.npz does: {error}"
            ) from None
    else:
        parts = {part: _idx(folder, *names) for part, names in _IDX_FILES.items()}
    images = {
        part: parts[part].reshape(-1, PIXELS).astype(np.float32) / 255.0
        for part in ("x_train", "x_test")
    }
    return Digits(
        images["x_train"],
        parts["y_train"].astype(np.int64),
        images["x_test"],
        parts["y_test"].astype(np.int64),
    )


def _idx(folder: Path, name: str, kind: str, magic: int) -> np.ndarray:
    """Read one IDX file: big-endian numbers that say what it is and how large, then bytes."""
    for path in _spellings(folder, name, kind):
        if not path.exists():
            continue
        try:
            raw = path.read_bytes()
            content = gzip.decompress(raw) if path.suffix == ".gz" else raw
            axes = magic & 0xFF
            found, *shape = struct.unpack(f">{1 + axes}I", content[: 4 + 4 * axes])
            values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
        except (OSError, EOFError, ValueError, struct.error) as error:
            raise SystemExit(f"{path} is no IDX file of MNIST: {error}") from None
        if found != magic:
            raise SystemExit(
                f"{path} is no {kind} file of MNIST: it begins with {found}, not {magic}"
            )
        return values
    raise SystemExit(
        f"{folder} has neither mnist.npz nor {name}-{kind}-ubyte(.gz): put MNIST's files there, name another folder "
        "with --work_dir, or leave out --data=mnist"
    )


def _spellings(folder: Path, name: str, kind: str) -> Iterator[Path]:
    for join in ("-", "."):
        for suffix in ("", ".gz"):
            yield folder / f"{name}{join}{kind}-ubyte{suffix}"
