"""Batching as the server's flags: TensorFlow Serving's BatchingParameters in its text form."""

from slipway_operator.api.quantities import parse_duration
from slipway_operator.api.serving import Batching


def batching_arguments(batching: Batching | None) -> list[str]:
    """The flags that turn batching on; none when it is not asked for.

    >>> batching_arguments(Batching(max_batch_size=8, timeout="5ms", allowed_batch_sizes=[4, 8]))[1]
    '--batching_parameters=max_batch_size { value: 8 } batch_timeout_micros { value: 5000 } \
max_enqueued_batches { value: 10 } allowed_batch_sizes: 4 allowed_batch_sizes: 8'
    """
    if batching is None:
        return []
    micros = round(parse_duration(batching.timeout).total_seconds() * 1e6)
    wrapped = {
        "max_batch_size": batching.max_batch_size,
        "batch_timeout_micros": micros,
        "max_enqueued_batches": batching.max_enqueued_batches,
    }
    if batching.threads:
        wrapped["num_batch_threads"] = batching.threads
    fields = [f"{name} {{ value: {value} }}" for name, value in wrapped.items()]
    fields += [f"allowed_batch_sizes: {size}" for size in batching.allowed_batch_sizes]
    if batching.pad_variable_length_inputs:
        fields.append("pad_variable_length_inputs: true")
    return ["--enable_batching=true", f"--batching_parameters={' '.join(fields)}"]
