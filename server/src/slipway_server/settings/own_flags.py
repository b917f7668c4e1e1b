"""The command-line flags that TensorFlow Serving does not have. Pure."""

from typing import Final

from slipway_server.settings.flag import Flag, Support
from slipway_server.settings.request_memory import (
    LEAST_MESSAGE,
    MOST_BODY,
    MOST_DECOMPRESSED,
    MOST_VALUES,
)

_MEANINGLESS: Final = Support.MEANINGLESS
_NO_PREFIX: Final = "Base paths must be absolute and get no prefix."

OWN: Final[tuple[Flag, ...]] = (
    # The options that TensorFlow Serving has without a flag, then what only Slipway has.
    Flag(
        "front",
        "python",
        "What serves the gRPC port, the REST port and the health port: python, or native. The native one takes "
        "connections and requests of every kind; it answers Predict over gRPC, health checks and health pages itself, "
        "without Python, batched or not, and hands the rest to the Python handlers: REST, Predict of stateful "
        "signatures, compressed, or to be logged, all with an access log, and whatever ends in an error. "
        "With TLS, REST stays with Python. It ignores grpc_channel_arguments.",
    ),
    Flag("batching_parameters", "", "BatchingParameters as protobuf text, instead of a file."),
    Flag(
        "aspired_version_policy",
        "availability_preserving",
        "Version transition policy: availability_preserving, resource_preserving, or the name of a plug-in.",
    ),
    Flag(
        "model_platform",
        "tensorflow",
        "What serves the model of --model_base_path: tensorflow, or the name of a plug-in; with model_config_file the "
        "file says it for each model.",
    ),
    Flag(
        "source_directory",
        "",
        "Directory for the versions that source plug-ins fetch; if empty, a temporary one that is removed when the "
        "server ends.",
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
    Flag("model_config_list_root_dir", "", _NO_PREFIX, _MEANINGLESS),
    Flag("storage_path_prefix", "", _NO_PREFIX, _MEANINGLESS),
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
    Flag(
        "exit_after_load",
        False,
        "Open no port: load every model, run its warm-up and its checks, and exit with code 0; or with 65 when no "
        "version of a model could be loaded. For trying a version out before it serves.",
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
        "Load and warm up each version in a child process first: true, false, or auto (true with model_config_file, "
        "without landlock).",
        bare="true",
    ),
    Flag(
        "isolated_load_memory_bytes",
        0,
        "Memory limit of that child process in bytes; 0 means a share of the free memory.",
        wide=True,
    ),
    Flag("isolated_load_gpu", False, "Allow that child process to use GPUs."),
    Flag(
        "trial_run",
        "auto",
        "Run each signature on zeros before a version serves: true, false, or auto (true without model_config_file).",
        bare="true",
    ),
    Flag(
        "checks",
        True,
        "Run the checks of a version, assets.extra/slipway_checks, before it becomes available; it fails to load if an "
        "answer differs.",
    ),
    Flag("termination_log", "", "File to write the reason for an unexpected exit to, as JSON."),
    Flag(
        "rest_api_max_body_bytes",
        MOST_BODY,
        "Maximum size of a REST request body in bytes, as sent. Default: 1/8 of the memory limit of the container, or "
        "of the machine's memory, but at most 512 MiB.",
        wide=True,
        by_machine="memory / 8, at most 512 MiB",
    ),
    Flag(
        "rest_api_max_decompressed_bytes",
        MOST_DECOMPRESSED,
        "Maximum decompressed size of a gzip request body in bytes. Default: 1/32 of the memory, but at most 100 MiB.",
        wide=True,
        by_machine="memory / 32, at most 100 MiB",
    ),
    Flag(
        "rest_api_max_inflight_bytes",
        MOST_BODY,
        "Maximum size in bytes of all REST request bodies together; above it reading pauses. Default: 1/8 of the "
        "memory, but at most 512 MiB.",
        wide=True,
        by_machine="memory / 8, at most 512 MiB",
    ),
    Flag(
        "rest_api_max_json_values",
        MOST_VALUES,
        "Maximum number of values in a JSON body, lists, objects and names of members included. Default: one for each "
        "512 bytes of memory, but at most 8388608.",
        wide=True,
        by_machine="memory / 512, at most 8388608",
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
    Flag("strict_types", True, "Reject inputs whose values or fields do not match their type."),
    Flag(
        "log_level",
        "info",
        "Least important lines to log: debug, info, warning or error; debug also logs every look for versions.",
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
    Flag("profiler_port", 0, "TCP port of TensorFlow's profiler, for TensorBoard; 0 disables it."),
    Flag(
        "grpc_max_message_bytes",
        LEAST_MESSAGE,
        "Maximum size of a gRPC request in bytes, as sent and decompressed; 0 means 2 GiB. Default: 1/32 of the memory "
        "limit of the container, or of the machine's memory, but at least 64 MiB and at most 2 GiB.",
        by_machine="memory / 32, at least 64 MiB",
    ),
    Flag("grpc_max_concurrent_streams", 1000, "Maximum concurrent calls per gRPC connection."),
    Flag("grpc_max_connections", 0, "Maximum number of open gRPC connections; 0 means no limit."),
    Flag(
        "max_connection_age_grace_seconds",
        600.0,
        "Grace period in seconds for pending calls on a gRPC connection that has reached its maximum age.",
    ),
    Flag(
        "reload_rpc",
        "auto",
        "Who may change the models over gRPC: off (nobody), local (over the UNIX socket or loopback, or with a client "
        "certificate that is verified), on (everybody), or auto (off with exit_on_failed_load, else local).",
    ),
    Flag(
        "model_roots",
        "",
        "Comma-separated folders that base paths and request logs must be below; if empty, a reload is restricted to "
        "the folders of the models that are configured at startup or in model_config_file.",
    ),
    Flag(
        "follow_links", False, "Also serve version directories that are links out of the base path."
    ),
    Flag(
        "landlock",
        False,
        "Restrict the process, and so every model, to the files that it needs (Linux 5.13); connections that it opens "
        "are refused (Linux 6.7).",
    ),
    Flag(
        "landlock_paths",
        "",
        "Comma-separated further paths that may be read with landlock; PATH:rw may also be written.",
    ),
)
