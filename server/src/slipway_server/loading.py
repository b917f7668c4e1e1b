"""The loader that the settings ask for: one for the server and for the child that tries a version first."""

from slipway_server.core.manager import Loader
from slipway_server.savedmodel.loader import SavedModelLoader
from slipway_server.savedmodel.session_model import SessionModel
from slipway_server.savedmodel.sessions import SessionSettings
from slipway_server.settings import Settings


def make_loader(settings: Settings) -> Loader[SessionModel]:
    """Return what loads, warms up and unloads versions in this process."""
    return SavedModelLoader(
        settings.tags,
        SessionSettings(
            config_file=settings.session_config_file,
            intra_op_threads=settings.intra_op_threads,
            inter_op_threads=settings.inter_op_threads,
            gpu_memory_fraction=settings.gpu_memory_fraction,
            xla=settings.xla_cpu or settings.xla_gpu,
            mixed_precision=settings.mixed_precision,
        ),
    )
