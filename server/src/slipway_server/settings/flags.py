"""The table of command-line flags. `command_line` reads arguments by it, `settings` checks what they say. Pure."""

import os
from typing import Final

from slipway_server.settings.flag import Flag, Support

_CPUS: Final = os.cpu_count() or 1
_LATER, _MEANINGLESS = Support.LATER, Support.MEANINGLESS

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
    Flag("enable_profiler", True, "Serve the TensorFlow profiler.", _LATER),
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

OWN: Final[tuple[Flag, ...]] = (
    # The options that TensorFlow Serving has without a flag, then what only Slipway has.
    Flag("batching_parameters", "", "BatchingParameters as protobuf text, instead of a file."),
    Flag(
        "aspired_version_policy",
        "availability_preserving",
        "Version transition policy: availability_preserving or resource_preserving.",
    ),
    Flag(
        "servable_versions_always_present",
        True,
        "Keep loaded versions when the base path is empty.",
    ),
    Flag(
        "open_ports_at_once",
        True,
        "Open the ports before the models are loaded; false waits for all models, as TensorFlow Serving does.",
    ),
    Flag(
        "fail_if_no_model_versions_found",
        False,
        "Fail the startup, or the reload, if a model has no versions.",
    ),
    Flag(
        "enable_reload_servables_with_error",
        False,
        "Keep retrying failed versions every load_retry_interval_micros, not only when their directory changes.",
    ),
    Flag("should_retry_model_load", True, "Enable load retries."),
    Flag(
        "retry_permanent_load_errors",
        False,
        "Also retry loads that failed because the export is invalid.",
    ),
    Flag(
        "total_model_memory_limit_bytes",
        0,
        "Memory limit for loaded versions in bytes, each estimated as 1.2 times its files; 0 means no limit.",
        wide=True,
    ),
    Flag(
        "num_initial_load_threads",
        0,
        "Threads that load the initial versions; 0 lets the server decide.",
    ),
    Flag(
        "servable_state_waiter_timeout_seconds",
        300.0,
        "Timeout in seconds of a reload that waits for its new models to become available or fail; 0 does not wait.",
    ),
    Flag("allow_version_labels", True, "Allow version labels in model configs."),
    Flag(
        "strict_version_labels",
        False,
        "Allow labels only for available versions, as TensorFlow Serving does; by default they may be set earlier.",
    ),
    Flag(
        "force_allow_any_version_labels_for_unavailable_models",
        False,
        "Override strict_version_labels.",
    ),
    Flag(
        "model_config_list_root_dir",
        "",
        "Base paths must be absolute and get no prefix.",
        _MEANINGLESS,
    ),
    Flag("storage_path_prefix", "", "Base paths must be absolute and get no prefix.", _MEANINGLESS),
    Flag("enforce_session_run_timeout", True, "Deadlines are always enforced.", _MEANINGLESS),
    Flag(
        "drain_seconds",
        12.0,
        "Maximum seconds after SIGTERM for clients to reconnect elsewhere; ends early once no client is connected.",
    ),
    Flag(
        "drain_min_seconds",
        3.0,
        "Minimum seconds after SIGTERM, in which every proxy removes the endpoint; at most drain_seconds.",
    ),
    Flag(
        "max_connection_age_seconds",
        10.0,
        "Maximum age of a gRPC connection in seconds; the client is then asked to reconnect (GOAWAY).",
    ),
    Flag(
        "exit_on_failed_load",
        False,
        "Exit with code 65 when no version of a model could be loaded.",
    ),
    Flag("load_timeout_seconds", 1800.0, "Timeout of a load in seconds; 0 disables it."),
    Flag(
        "run_on_caller_thread",
        "auto",
        "Run a model on its request's thread (true) or on TensorFlow's thread pool, which runs branches of a graph "
        "in parallel (false); auto decides by CPUs and graph. Per model: auto,NAME=false.",
        bare="true",
    ),
    Flag(
        "isolated_first_load",
        "auto",
        "Load and warm up each version in a child process first: true, false, or auto (true with model_config_file).",
        bare="true",
    ),
    Flag(
        "isolated_load_memory_bytes",
        0,
        "Memory limit of that child process in bytes; 0 means a share of the free memory.",
        wide=True,
    ),
    Flag("isolated_load_gpu", False, "Allow that child process to use GPUs."),
    Flag("termination_log", "", "File to write the reason for an unexpected exit to, as JSON."),
    Flag(
        "rest_api_max_body_bytes",
        512 << 20,
        "Maximum size of a REST request body in bytes, as sent.",
        wide=True,
    ),
    Flag(
        "rest_api_max_decompressed_bytes",
        100 << 20,
        "Maximum decompressed size of a gzip request body in bytes.",
        wide=True,
    ),
    Flag(
        "rest_api_max_inflight_bytes",
        512 << 20,
        "Maximum size in bytes of all REST request bodies together; above it reading pauses.",
        wide=True,
    ),
    Flag(
        "rest_api_max_json_values",
        8 << 20,
        "Maximum number of values in a JSON body, lists, objects and names of members included.",
        wide=True,
    ),
    Flag("rest_api_max_json_depth", 1024, "Maximum nesting depth of JSON in a REST request."),
    Flag(
        "rest_api_max_header_bytes",
        64 << 10,
        "Maximum size of a REST request's request line and headers in bytes.",
    ),
    Flag(
        "rest_api_receive_timeout_seconds",
        300.0,
        "Timeout in seconds for receiving a whole REST request; headers have 20 seconds.",
    ),
    Flag("rest_api_max_connections", 10_000, "Maximum number of open HTTP connections."),
    Flag(
        "health_port",
        0,
        "TCP port for health endpoints and metrics only, never with TLS; 0 disables it.",
    ),
    Flag(
        "max_inflight_requests",
        1024,
        "Maximum requests per port, running or queued; further requests fail with UNAVAILABLE.",
    ),
    Flag(
        "grpc_socket_mode",
        "",
        "Permissions of the UNIX socket in octal, for example 0660; if empty, the umask decides.",
    ),
    Flag("access_log", "off", "Access log: off, errors or all."),
    Flag(
        "access_log_sampling",
        1.0,
        "Fraction of successful requests that --access_log=all logs; errors are always logged.",
    ),
    Flag(
        "request_log_max_file_bytes",
        256 << 20,
        "Size in bytes at which the request log (logging_config) starts a new file.",
        wide=True,
    ),
    Flag(
        "grpc_max_message_bytes",
        64 << 20,
        "Maximum size of a gRPC request in bytes, as sent and decompressed; 0 means 2 GiB.",
    ),
    Flag("grpc_max_concurrent_streams", 1000, "Maximum concurrent calls per gRPC connection."),
    Flag("grpc_max_connections", 0, "Maximum number of open gRPC connections; 0 means no limit."),
    Flag(
        "max_connection_age_grace_seconds",
        600.0,
        "Grace period in seconds for pending calls on a gRPC connection that has reached its maximum age.",
    ),
)

FLAGS: Final = CLASSIC + OWN
