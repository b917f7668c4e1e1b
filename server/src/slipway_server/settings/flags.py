"""The table of command-line flags. `command_line` reads arguments by it, `settings` checks what they say. Pure."""

import os
from dataclasses import dataclass
from enum import Enum
from typing import Final

Value = bool | int | float | str


class Support(Enum):
    """What a flag does here."""

    WORKS = "works"
    LATER = "is accepted, but this version of slipway-server does nothing with it"
    MEANINGLESS = "is accepted for compatibility and has no meaning in slipway-server"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        default: its value unless given; its Python type is the flag's type.
        wide: whether an integer has 64 instead of 32 bits.
        by_machine: how the default follows from the machine, when it does.
        bare: the value that `--name` alone stands for; none by default, `true` for booleans.
    """

    name: str
    default: Value
    usage: str
    support: Support = Support.WORKS
    wide: bool = False
    bare: str = ""
    by_machine: str = ""


_CPUS: Final = os.cpu_count() or 1
_LATER, _MEANINGLESS = Support.LATER, Support.MEANINGLESS

CLASSIC: Final[tuple[Flag, ...]] = (
    # TensorFlow Serving's own, in its order.
    Flag("port", 8500, "TCP port to listen on for the gRPC API. 0 means none."),
    Flag("grpc_socket_path", "", "If not empty, also listen for the gRPC API on this UNIX socket."),
    Flag(
        "rest_api_port",
        0,
        "TCP port to listen on for the REST API, health pages and metrics. 0 means none.",
    ),
    Flag(
        "rest_api_num_threads",
        4 * _CPUS,
        "REST requests worked on at a time.",
        by_machine="4 × CPUs",
    ),
    Flag(
        "rest_api_timeout_in_ms",
        30000,
        "Milliseconds after which a REST request is answered 504; 0 means never.",
    ),
    Flag(
        "rest_api_enable_cors_support", False, "Let web pages of other origins call the REST API."
    ),
    Flag("enable_batching", False, "Run requests that come together as one."),
    Flag(
        "allow_version_labels_for_unavailable_models",
        False,
        "With strict_version_labels: a label that is new or does not move may name a version that is not available.",
    ),
    Flag("batching_parameters_file", "", "Text file of BatchingParameters."),
    Flag(
        "enable_per_model_batching_parameters",
        False,
        "Batch only versions with a batching_params.pbtxt, as it says.",
    ),
    Flag(
        "model_config_file",
        "",
        "Text file of ModelServerConfig; takes the place of model_name and model_base_path.",
    ),
    Flag(
        "model_config_file_poll_wait_seconds",
        0,
        "Seconds between looks at model_config_file; 0 reads it once.",
    ),
    Flag("model_name", "default", "Name of the model to serve."),
    Flag("model_base_path", "", "Directory whose numeric children are the model's versions."),
    Flag("num_load_threads", 0, "Loads at a time after the first ones; 0 lets the server decide."),
    Flag("num_unload_threads", 0, "Unloads at a time; 0 sets no bound."),
    Flag(
        "max_num_load_retries",
        5,
        "How often a load that failed for a passing reason is tried again.",
    ),
    Flag(
        "load_retry_interval_micros", 60_000_000, "Microseconds between these attempts.", wide=True
    ),
    Flag(
        "file_system_poll_wait_seconds",
        1,
        "Seconds between looks for new versions; 0 looks once and after each reload, less never.",
    ),
    Flag(
        "flush_filesystem_caches",
        True,
        "Drop a version's files from the page cache once it is loaded.",
    ),
    Flag(
        "tensorflow_session_parallelism",
        0,
        "Threads for both intra- and inter-op parallelism; 0: auto.",
        wide=True,
    ),
    Flag(
        "tensorflow_session_config_file",
        "",
        "Text file of ConfigProto; flags that are set win over it.",
    ),
    Flag("tensorflow_intra_op_parallelism", 0, "Threads inside one operation; 0: auto.", wide=True),
    Flag(
        "tensorflow_inter_op_parallelism",
        0,
        "Threads for operations side by side; 0: auto.",
        wide=True,
    ),
    Flag(
        "use_alts_credentials",
        False,
        "Google's ALTS, which works on Google's machines only.",
        _MEANINGLESS,
    ),
    Flag(
        "ssl_config_file",
        "",
        "Text file of SSLConfig: TLS for gRPC and REST; read again when it changes.",
    ),
    Flag(
        "platform_config_file",
        "",
        "Text file of PlatformConfigMap. The one platform here is tensorflow, and flags set it up.",
        _MEANINGLESS,
    ),
    Flag(
        "per_process_gpu_memory_fraction",
        0.0,
        "Share of a GPU's memory to take at once; 0: as it is needed.",
    ),
    Flag("saved_model_tags", "serve", "Comma-separated tags that the graph to load has, exactly."),
    Flag("grpc_channel_arguments", "", "Comma-separated key=value pairs for the gRPC server."),
    Flag(
        "grpc_max_threads", 4 * _CPUS, "gRPC requests worked on at a time.", by_machine="4 × CPUs"
    ),
    Flag("enable_model_warmup", True, "Run the recorded warm-up requests before a version serves."),
    Flag("num_request_iterations_for_warmup", 0, "How often each of them is run; 0 means once."),
    Flag("version", False, "Print the version and exit."),
    Flag(
        "monitoring_config_file",
        "",
        "Text file of MonitoringConfig: whether and where metrics are served. Without one they are.",
    ),
    Flag(
        "remove_unused_fields_from_bundle_metagraph", True, "Nothing unused is kept.", _MEANINGLESS
    ),
    Flag("prefer_tflite_model", False, "Load model.tflite where there is one."),
    Flag(
        "num_tflite_pools",
        _CPUS,
        "TensorFlow Lite interpreter pools of each version.",
        by_machine="CPUs",
    ),
    Flag("num_tflite_interpreters_per_pool", 1, "Interpreters in each pool."),
    Flag(
        "enable_signature_method_name_check",
        False,
        "Refuse requests whose method the signature's export does not name.",
    ),
    Flag("xla_cpu_compilation_enabled", False, "Compile with XLA on the CPU."),
    Flag("xla_gpu_compilation_enabled", False, "Compile with XLA on GPUs."),
    Flag("enable_profiler", True, "Serve TensorFlow's profiler.", _LATER),
    Flag("thread_pool_factory_config_file", "", "Custom thread pools.", _MEANINGLESS),
    Flag("mixed_precision", "", "Only bfloat16 means anything."),
    Flag("skip_initialize_tpu", False, "There is no TPU support.", _MEANINGLESS),
    Flag(
        "enable_grpc_healthcheck_service", False, "The health service is always on.", _MEANINGLESS
    ),
    Flag(
        "enable_serialization_as_tensor_content", False, "Write Predict outputs as tensor_content."
    ),
)

OWN: Final[tuple[Flag, ...]] = (
    # The options that TensorFlow Serving has without a flag, then what only Slipway has.
    Flag("batching_parameters", "", "BatchingParameters as text, in place of a file."),
    Flag(
        "aspired_version_policy",
        "availability_preserving",
        "availability_preserving or resource_preserving.",
    ),
    Flag(
        "servable_versions_always_present", True, "An empty base path leaves what is loaded alone."
    ),
    Flag(
        "open_ports_at_once",
        True,
        "Open the ports before the models are loaded; false waits for every model, as TensorFlow Serving does.",
    ),
    Flag(
        "fail_if_no_model_versions_found",
        False,
        "A model without any version ends the start, and is the error of the reload that adds it.",
    ),
    Flag(
        "enable_reload_servables_with_error",
        False,
        "Try a version whose load has failed again and again, load_retry_interval_micros apart, not only when its "
        "directory changes.",
    ),
    Flag("should_retry_model_load", True, "Retry loads at all."),
    Flag(
        "retry_permanent_load_errors",
        False,
        "Retry also loads that failed because the export itself is wrong.",
    ),
    Flag(
        "total_model_memory_limit_bytes",
        0,
        "Bytes that loaded versions may need together, each taken to need 1.2 times its files; 0: any.",
        wide=True,
    ),
    Flag("num_initial_load_threads", 0, "Loads at a time at first; 0 lets the server decide."),
    Flag(
        "servable_state_waiter_timeout_seconds",
        300.0,
        "Seconds that a reload waits until its new models answer or have failed; 0 does not wait.",
    ),
    Flag("allow_version_labels", True, "Configs may have version labels."),
    Flag(
        "strict_version_labels",
        False,
        "A label may be set to available versions only, as in TensorFlow Serving; by default it may come first.",
    ),
    Flag(
        "force_allow_any_version_labels_for_unavailable_models",
        False,
        "Undoes strict_version_labels.",
    ),
    Flag(
        "model_config_list_root_dir",
        "",
        "Base paths must be absolute; nothing is put before them.",
        _MEANINGLESS,
    ),
    Flag("storage_path_prefix", "", "Likewise.", _MEANINGLESS),
    Flag("enforce_session_run_timeout", True, "Deadlines are always enforced.", _MEANINGLESS),
    Flag(
        "drain_seconds",
        12.0,
        "Most seconds that clients have after SIGTERM to move elsewhere; the server stops before, once none is "
        "connected.",
    ),
    # kube-proxy gathers changes for up to a second (minSyncPeriod); before it, the EndpointSlice controller usually
    # takes well below one. The rest is room, and a proxy that is later still shows: its clients connect here.
    Flag(
        "drain_min_seconds",
        3.0,
        "Least seconds from SIGTERM to the stop, in which every proxy learns that requests go elsewhere; at most "
        "drain_seconds.",
    ),
    Flag(
        "max_connection_age_seconds", 10.0, "Age at which a gRPC connection is asked to reconnect."
    ),
    Flag(
        "exit_on_failed_load",
        False,
        "Exit with 65 when a model has no version left that could be loaded.",
    ),
    Flag(
        "load_timeout_seconds",
        1800.0,
        "Seconds after which a load is given up; 0 means never.",
    ),
    Flag(
        "run_on_caller_thread",
        "auto",
        "Whether a model runs on the thread of its request (true) or on TensorFlow's pool, which works on a graph's "
        "branches side by side (false); auto: by processors and graph. For single models: auto,NAME=false.",
        bare="true",
    ),
    Flag(
        "isolated_first_load",
        "auto",
        "Load and warm up each version in a child process first: true, false, or auto, which means with "
        "model_config_file.",
        bare="true",
    ),
    Flag(
        "isolated_load_memory_bytes",
        0,
        "Bytes that such a child may use; 0 means a share of what is free.",
        wide=True,
    ),
    Flag("isolated_load_gpu", False, "Let such a child use GPUs."),
    Flag("termination_log", "", "File that says in JSON why the server exited on its own."),
    Flag(
        "rest_api_max_body_bytes", 512 << 20, "Bytes of a REST request's body as sent.", wide=True
    ),
    Flag(
        "rest_api_max_decompressed_bytes",
        100 << 20,
        "Bytes of a gzip body when decompressed.",
        wide=True,
    ),
    Flag("rest_api_max_json_depth", 1024, "Levels of lists and objects in a REST request."),
    Flag("rest_api_max_header_bytes", 64 << 10, "Bytes of a REST request's line and headers."),
    Flag(
        "rest_api_receive_timeout_seconds",
        300.0,
        "Seconds from a REST request's first byte to its last; its headers have 20 of them.",
    ),
    Flag("rest_api_max_connections", 10_000, "Open HTTP connections."),
    Flag(
        "health_port",
        0,
        "TCP port for health pages and metrics alone, never with TLS. 0 means none.",
    ),
    Flag(
        "max_inflight_requests",
        1024,
        "Requests that each port holds, worked on or waiting, before it refuses further ones as UNAVAILABLE.",
    ),
    Flag(
        "grpc_socket_mode",
        "",
        "Permissions of the UNIX socket in octal, e.g. 0660; empty leaves them to the umask.",
    ),
    Flag("access_log", "off", "Requests to write a line of JSON about: off, errors or all."),
    Flag(
        "access_log_sampling",
        1.0,
        "Share of the successful requests that --access_log=all tells of; errors are all told of.",
    ),
    Flag(
        "request_log_max_file_bytes",
        256 << 20,
        "Size at which a file of logged requests (logging_config) is followed by another.",
        wide=True,
    ),
    Flag("grpc_max_message_bytes", 0, "Bytes of a gRPC request; 0 means up to 2 GiB."),
    Flag("grpc_max_concurrent_streams", 1000, "Calls at a time on one gRPC connection."),
    Flag("grpc_max_connections", 0, "Open gRPC connections; 0 means any number."),
    Flag(
        "max_connection_age_grace_seconds",
        600.0,
        "Seconds for the calls of a gRPC connection that has reached its age.",
    ),
)

FLAGS: Final = CLASSIC + OWN
