"""Pictures of discs, squares and triangles on a noisy ground, and which pixel belongs to what.

python -m segmentation.shapes --seed=7 /tmp/shapes.png
"""

import argparse

import numpy as np
from PIL import Image

CLASSES = ("background", "disc", "square", "triangle")
COLOURS = np.array([(0, 0, 0), (230, 80, 60), (60, 140, 230), (250, 200, 50)], np.uint8)
"""Of each class in a mask."""

NOISE = 12.0


def inside(kind: int, radius: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Whether pixels, counted from its centre, belong to a shape."""
    match CLASSES[kind]:
        case "disc":
            return y**2 + x**2 < radius**2
        case "square":
            return (np.abs(y) < 0.85 * radius) & (np.abs(x) < 0.85 * radius)
        case _:
            return (y < 0.8 * radius) & (np.abs(x) < 0.55 * (y + radius))


def picture(
    random: np.random.Generator, height: int, width: int, shapes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image [height, width, 3] of uint8 and its mask [height, width], the class of each pixel."""
    rows, columns = np.mgrid[:height, :width]
    ground = random.uniform(0, 90, 3)
    image = np.full((height, width, 3), ground)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(shapes):
        kind = int(random.integers(1, len(CLASSES)))
        radius = random.uniform(8, 14)
        y, x = random.uniform(radius, height - radius), random.uniform(radius, width - radius)
        pixels = inside(kind, radius, rows - y, columns - x)
        around = inside(kind, radius + 3, rows - y, columns - x)
        if mask[around].any():
            continue
        image[pixels] = ground + random.uniform(80, 160, 3)
        mask[pixels] = kind
    image += random.normal(0, NOISE, image.shape)
    return image.clip(0, 255).astype(np.uint8), mask


def main() -> None:
    """Write a picture, and its true mask beside it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--height", type=int, default=96)
    parser.add_argument("--width", type=int, default=144)
    parser.add_argument("path", help="of the PNG file")
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    image, mask = picture(random, arguments.height, arguments.width, 9)
    Image.fromarray(image).save(arguments.path)
    truth = arguments.path.removesuffix(".png") + "_truth.png"
    Image.fromarray(COLOURS[mask]).save(truth, optimize=True)
    print("Wrote", arguments.path, "and", truth)


if __name__ == "__main__":
    main()
