"""The project's images: built from its Containerfiles, brought into the node."""

from cluster.images.build import build
from cluster.images.recipe import BASE, IMAGES, Image

__all__ = ["BASE", "IMAGES", "Image", "build"]
