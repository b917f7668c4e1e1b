"""Write a test digit as a picture: black ink on white paper, 28×28 pixels.

python -m keras_rest.picture --digit=5 examples/keras_rest/test_pic_tag_5.png
"""

import argparse

import numpy as np
from PIL import Image

import handwritten_digits
from handwritten_digits import SIDE


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digit", type=int, default=5)
    parser.add_argument("--number", type=int, default=2, help="which of this digit's test images")
    handwritten_digits.add_arguments(parser)
    parser.add_argument("path", help="of the PNG file")
    arguments = parser.parse_args()
    digits = handwritten_digits.load(arguments.data, arguments.work_dir)
    found = np.flatnonzero(digits.test_labels == arguments.digit)
    if not 0 <= arguments.number < len(found):
        parser.error(f"there are {len(found)} test images of {arguments.digit}, from number 0 on")
    ink = digits.test_images[found[arguments.number]].reshape(SIDE, SIDE)
    Image.fromarray(np.round((1 - ink) * 255).astype(np.uint8)).save(arguments.path, optimize=True)
    print("Wrote", arguments.path)


if __name__ == "__main__":
    main()
