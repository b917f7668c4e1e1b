"""TensorFlow Serving's command-line flags, and the table of all flags. `command_line` reads arguments by it. Pure."""

import os
from typing import Final

from slipway_server.settings.flag import Flag, Support
from slipway_server.settings.own_flags import OWN

_CPUS: Final = os.cpu_count() or 1
_MEANINGLESS: Final = Support.MEANINGLESS

CLASSIC: Final[tuple[Flag, ...]] = (
    # TensorFlow Serving's own, in its order.
    Flag("port", 8500, "TCP port of the gRPC API; 0 disables it."),
    Flag("grpc_socket_path", "", "Also serve the gRPC API on this UNIX socket, if not empty."),
    Flag(
        "rest_api_port",
        0,
        "TCP port of the REST API, health endpoints and metrics; 0 disables it.",
    ),
    Flag(
        "rest_api_num_threads",
        4 * _CPUS,
        "Threads that process REST requests.",
        by_machine="4 × CPUs",
    ),
    Flag(
        "rest_api_timeout_in_ms",
        30000,
        "Timeout of a REST request in milliseconds (HTTP 504); 0 disables it.",
    ),
    Flag("rest_api_enable_cors_support", False, "Enable CORS headers on the REST API."),
    Flag("enable_batching", False, "Enable request batching."),
    Flag(
        "allow_version_labels_for_unavailable_models",
        False,
        "With strict_version_labels: a new or unchanged label may name a version that is not available.",
    ),
    Flag("batching_parameters_file", "", "Text protobuf file with BatchingParameters."),
    Flag(
        "enable_per_model_batching_parameters",
        False,
        "Enable batching only for versions with a batching_params.pbtxt, with the parameters in that file.",
    ),
    Flag(
        "model_config_file",
        "",
        "Text protobuf file with ModelServerConfig; replaces model_name and model_base_path.",
    ),
    Flag(
        "model_config_file_poll_wait_seconds",
        0,
        "Polling interval of model_config_file in seconds; 0 reads it once.",
    ),
    Flag("model_name", "default", "Name of the model to serve."),
    Flag(
        "model_base_path",
        "",
        "Directory whose children with integer names are the model's versions.",
    ),
    Flag(
        "num_load_threads", 0, "Threads that load versions after startup; 0 lets the server decide."
    ),
    Flag("num_unload_threads", 0, "Threads that unload versions; 0 means no limit."),
    Flag(
        "max_num_load_retries",
        5,
        "Maximum number of retries of a load that failed with a transient error.",
    ),
    Flag(
        "load_retry_interval_micros",
        60_000_000,
        "Interval between these retries in microseconds.",
        wide=True,
    ),
    Flag(
        "file_system_poll_wait_seconds",
        1,
        "Polling interval for new versions in seconds; 0: once and after each reload; negative: never.",
    ),
    Flag(
        "flush_filesystem_caches",
        True,
        "Evict a version's files from the page cache after it is loaded.",
    ),
    Flag(
        "tensorflow_session_parallelism",
        0,
        "Threads for both intra-op and inter-op parallelism; 0 means auto.",
        wide=True,
    ),
    Flag(
        "tensorflow_session_config_file",
        "",
        "Text protobuf file with ConfigProto; flags that are set override it.",
    ),
    Flag(
        "tensorflow_intra_op_parallelism",
        0,
        "Threads used within one operation; 0 means auto.",
        wide=True,
    ),
    Flag(
        "tensorflow_inter_op_parallelism",
        0,
        "Threads that run operations in parallel; 0 means auto.",
        wide=True,
    ),
    Flag(
        "use_alts_credentials",
        False,
        "Google's ALTS, which works on Google Cloud only.",
        _MEANINGLESS,
    ),
    Flag(
        "ssl_config_file",
        "",
        "Text protobuf file with SSLConfig: TLS for gRPC and REST; reloaded when it changes.",
    ),
    Flag(
        "platform_config_file",
        "",
        "Text protobuf file with PlatformConfigMap. The only platform is tensorflow, configured by flags.",
        _MEANINGLESS,
    ),
    Flag(
        "per_process_gpu_memory_fraction",
        0.0,
        "Fraction of each GPU's memory to allocate at startup; 0 allocates as needed.",
    ),
    Flag(
        "saved_model_tags",
        "serve",
        "Comma-separated tag set of the MetaGraph to load (exact match).",
    ),
    Flag(
        "grpc_channel_arguments",
        "",
        "Comma-separated key=value channel arguments of the gRPC server.",
    ),
    Flag(
        "grpc_max_threads", 4 * _CPUS, "Threads that process gRPC requests.", by_machine="4 × CPUs"
    ),
    Flag(
        "enable_model_warmup",
        True,
        "Run the recorded warm-up requests before a version becomes available.",
    ),
    Flag(
        "num_request_iterations_for_warmup",
        0,
        "How many times each warm-up request is run; 0 means once.",
    ),
    Flag("version", False, "Print the version and exit."),
    Flag(
        "monitoring_config_file",
        "",
        "Text protobuf file with MonitoringConfig: enables and places metrics, which are enabled without it.",
    ),
    Flag(
        "remove_unused_fields_from_bundle_metagraph",
        True,
        "Unused fields are never kept.",
        _MEANINGLESS,
    ),
    Flag("prefer_tflite_model", False, "Load model.tflite if a version has one."),
    Flag(
        "num_tflite_pools",
        _CPUS,
        "TensorFlow Lite interpreter pools per version.",
        by_machine="CPUs",
    ),
    Flag("num_tflite_interpreters_per_pool", 1, "Interpreters per pool."),
    Flag(
        "enable_signature_method_name_check",
        False,
        "Reject requests whose method does not match the signature's method name.",
    ),
    Flag("xla_cpu_compilation_enabled", False, "Enable XLA compilation on the CPU."),
    Flag("xla_gpu_compilation_enabled", False, "Enable XLA compilation on GPUs."),
    Flag("enable_profiler", True, "Serve the TensorFlow profiler, if profiler_port is set."),
    Flag("thread_pool_factory_config_file", "", "Custom thread pools.", _MEANINGLESS),
    Flag("mixed_precision", "", "Automatic mixed precision; bfloat16 is the only supported value."),
    Flag("skip_initialize_tpu", False, "TPUs are not supported.", _MEANINGLESS),
    Flag(
        "enable_grpc_healthcheck_service",
        False,
        "The gRPC health service is always enabled.",
        _MEANINGLESS,
    ),
    Flag(
        "enable_serialization_as_tensor_content", False, "Return Predict outputs as tensor_content."
    ),
)

FLAGS: Final = CLASSIC + OWN
