"""The project's images: built from its Containerfiles, brought into the node."""

from typing import TYPE_CHECKING

from cluster.images.build import build_layout, outdated
from cluster.images.recipe import BASE, IMAGES, Image
from cluster.progress import note, step

if TYPE_CHECKING:
    from cluster.node import Cluster

__all__ = ["BASE", "IMAGES", "Image", "build", "build_layout", "outdated"]


def build(cluster: "Cluster") -> tuple[str, ...]:
    """Builds the images whose inputs changed, and imports what the cluster does not have yet.

    Returns:
        The names of the images that were imported.
    """
    layout = build_layout()
    with step("import into the cluster"):
        imported = cluster.images.import_layout(layout)
    note(f"  imported: {', '.join(imported) or 'nothing, all are there'}")
    return imported
