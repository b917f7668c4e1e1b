"""The digits that the tutorials use: scikit-learn's, or a reader's own MNIST files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import handwritten_digits
from handwritten_digits import Digits

TRAIN = np.arange(3 * 784, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
TEST = np.full((2, 28, 28), 255, np.uint8)
TRAIN_LABELS = np.array([5, 0, 4], np.uint8)
TEST_LABELS = np.array([7, 2], np.uint8)
FILES = {
    "train-images-idx3-ubyte": TRAIN,
    "train-labels-idx1-ubyte": TRAIN_LABELS,
    "t10k-images-idx3-ubyte": TEST,
    "t10k-labels-idx1-ubyte": TEST_LABELS,
}


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">{1 + values.ndim}I", 2048 + values.ndim, *values.shape) + values.tobytes()


def write_idx(folder: Path, *, packed: bool = False, dots: bool = False) -> None:
    for name, values in FILES.items():
        spelled = name.replace("-idx", ".idx") if dots else name
        content = gzip.compress(idx(values)) if packed else idx(values)
        (folder / f"{spelled}{'.gz' if packed else ''}").write_bytes(content)


def check(digits: Digits) -> None:
    assert digits.train_images.shape == (3, 784)
    assert digits.train_images.dtype == np.float32
    assert np.array_equal(digits.train_images * 255, TRAIN.reshape(3, 784))
    assert np.array_equal(digits.test_images, np.ones((2, 784)))
    assert digits.train_labels.tolist() == [5, 0, 4]
    assert digits.test_labels.tolist() == [7, 2]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dots", [False, True])
def test_idx_files_are_read_packed_or_not(tmp_path: Path, *, packed: bool, dots: bool) -> None:
    write_idx(tmp_path, packed=packed, dots=dots)
    check(handwritten_digits.load("mnist", tmp_path))


def test_keras_file_is_read(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "mnist.npz",
        x_train=TRAIN,
        y_train=TRAIN_LABELS,
        x_test=TEST,
        y_test=TEST_LABELS,
    )
    check(handwritten_digits.load("mnist", tmp_path))


def test_files_that_are_missing_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"neither mnist\.npz nor train-images-idx3-ubyte\(\.gz\)"):
        handwritten_digits.load("mnist", tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no IDX file"),
        (idx(TRAIN)[:-1], "no IDX file"),
        (idx(TRAIN_LABELS), "no IDX file|it begins with 2049, not 2051"),
        (b"not one of them at all, but long enough", "no IDX file|begins with"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(SystemExit, match=f"train-images-idx3-ubyte is .*({why})"):
        handwritten_digits.load("mnist", tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK not really", b"PK\x03\x04 cut short", b"\x93NUMPY"])
def test_a_keras_file_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(SystemExit, match=r"mnist\.npz must hold the arrays x_train"):
        handwritten_digits.load("mnist", tmp_path)
    np.savez(tmp_path / "mnist.npz", images=TRAIN)
    with pytest.raises(SystemExit, match=r"mnist\.npz must hold the arrays x_train"):
        handwritten_digits.load("mnist", tmp_path)
