"""How sessions use the machine, as TensorFlow's ConfigProto."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slipway_server.text_files import read_message

if TYPE_CHECKING:
    from tensorflow.core.protobuf import config_pb2

BFLOAT16: Final = "bfloat16"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What the flags say about sessions.

    Attributes:
        config_file: a ConfigProto in text form, on which the flags below are put; empty for none.
        intra_op_threads: 0 lets TensorFlow decide; likewise `inter_op_threads`.
        gpu_memory_fraction: share of each GPU's memory; 0 lets the process grow as it needs.
        xla: compile graphs with XLA where that pays.
        mixed_precision: `bfloat16` computes in that type where it is safe; everything else means nothing.
    """

    config_file: str = ""
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0
    xla: bool = False
    mixed_precision: str = ""

    def config(self) -> config_pb2.ConfigProto:
        """Return TensorFlow's form: the file, then every flag that was set, which wins.

        Raises:
            ServingError: NOT_FOUND when the file cannot be read, INVALID_ARGUMENT when it is no ConfigProto.
        """
        from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2  # noqa: PLC0415 - settings need no TensorFlow

        config = config_pb2.ConfigProto(allow_soft_placement=True)
        if self.config_file:
            config.MergeFrom(read_message(self.config_file, config_pb2.ConfigProto()))
        if self.intra_op_threads:
            config.intra_op_parallelism_threads = self.intra_op_threads
        if self.inter_op_threads:
            config.inter_op_parallelism_threads = self.inter_op_threads
        # A file that speaks of GPUs at all has decided about growth; TensorFlow's own default, all memory at once,
        # leaves nothing for whoever shares the device.
        if self.gpu_memory_fraction > 0:
            config.gpu_options.per_process_gpu_memory_fraction = self.gpu_memory_fraction
        elif not config.HasField("gpu_options"):
            config.gpu_options.allow_growth = True
        if self.xla:
            options = config.graph_options.optimizer_options
            options.global_jit_level = config_pb2.OptimizerOptions.ON_1
        if self.mixed_precision == BFLOAT16:
            rewrites = config.graph_options.rewrite_options
            rewrites.auto_mixed_precision_onednn_bfloat16 = rewriter_config_pb2.RewriterConfig.ON
        return config
