"""§1, §1.1: TensorFlow Serving's flags, their grammar and what contradicts itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slipway_server import __main__
from slipway_server.errors import ServingError
from slipway_server.settings import command_line, flags
from slipway_server.settings.server import Settings, connection_age, settings

CLASSIC = [
    "port",
    "grpc_socket_path",
    "rest_api_port",
    "rest_api_num_threads",
    "rest_api_timeout_in_ms",
    "rest_api_enable_cors_support",
    "enable_batching",
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "enable_per_model_batching_parameters",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "model_name",
    "model_base_path",
    "num_load_threads",
    "num_unload_threads",
    "max_num_load_retries",
    "load_retry_interval_micros",
    "file_system_poll_wait_seconds",
    "flush_filesystem_caches",
    "tensorflow_session_parallelism",
    "tensorflow_session_config_file",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "use_alts_credentials",
    "ssl_config_file",
    "platform_config_file",
    "per_process_gpu_memory_fraction",
    "saved_model_tags",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "enable_model_warmup",
    "num_request_iterations_for_warmup",
    "version",
    "monitoring_config_file",
    "remove_unused_fields_from_bundle_metagraph",
    "prefer_tflite_model",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "enable_signature_method_name_check",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "enable_profiler",
    "thread_pool_factory_config_file",
    "mixed_precision",
    "skip_initialize_tpu",
    "enable_grpc_healthcheck_service",
    "enable_serialization_as_tensor_content",
]


def _settings(*arguments: str) -> Settings:
    parsed = command_line.parse(["--model_base_path=/m", *arguments])
    return settings(parsed.values, cpus=2, given=parsed.given)


def test_every_flag_of_tensorflow_serving_is_known() -> None:
    assert [flag.name for flag in flags.FLAGS][: len(CLASSIC)] == CLASSIC
    assert len({flag.name for flag in flags.FLAGS}) == len(flags.FLAGS)


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("--port=9", "port", 9),
        ("--port=-9", "port", -9),
        ("--port= 9", "port", 9),
        ("--load_retry_interval_micros=9999999999", "load_retry_interval_micros", 9999999999),
        ("--enable_batching", "enable_batching", True),
        ("--enable_batching=true", "enable_batching", True),
        ("--flush_filesystem_caches=false", "flush_filesystem_caches", False),
        ("--model_name=", "model_name", ""),
        ("--model_name=a=b", "model_name", "a=b"),
        ("--per_process_gpu_memory_fraction=.5", "per_process_gpu_memory_fraction", 0.5),
        ("--drain_seconds=3", "drain_seconds", 3.0),
    ],
)
def test_values(argument: str, name: str, value: flags.Value) -> None:
    parsed = command_line.parse([argument])
    assert (parsed.values[name], parsed.unknown, parsed.malformed) == (value, (), ())
    assert parsed.given == {name}


@pytest.mark.parametrize(
    "argument",
    [
        "--port=x",
        "--port=",
        "--port=1.5",
        "--port=1x",
        "--port=4294967296",
        "--enable_batching=yes",
        "--drain_seconds=z",
    ],
)
def test_a_value_that_does_not_fit_is_malformed(argument: str) -> None:
    parsed = command_line.parse([argument])
    name, _, text = argument.removeprefix("--").partition("=")
    assert parsed.malformed == (f"Couldn't interpret value {text} for flag {name}.",)


@pytest.mark.parametrize(
    "arguments", [["--nope=1"], ["--port", "8"], ["port=8"], ["-port=8"], ["x"], ["--", "--port=8"]]
)
def test_what_is_no_flag_is_unknown_and_changes_nothing(arguments: list[str]) -> None:
    parsed = command_line.parse(arguments)
    assert parsed.unknown == tuple(one for one in arguments if one != "--")
    assert parsed.values["port"] == 8500
    assert parsed.malformed == ()


def test_the_last_of_a_repeated_flag_counts() -> None:
    assert command_line.parse(["--port=1", "--port=2"]).values["port"] == 2


def test_usage_names_every_flag() -> None:
    text = command_line.usage("tensorflow_model_server")
    assert all(f"--{flag.name}=" in text for flag in flags.FLAGS)


def test_the_reference_page_is_the_same_on_every_machine() -> None:
    page = command_line.reference()
    assert "| `--grpc_max_threads` | int32 | 4 × CPUs | " in page
    assert "| `--enable_profiler` | bool | `true` | " in page
    rows = [line for line in page.splitlines() if line.startswith("| `--")]
    assert len(rows) == len(flags.FLAGS)
    assert command_line.parse(["--help=markdown"]).help == "markdown"
    assert command_line.parse(["--help"]).help == "text"


def test_how_models_come_and_go() -> None:
    plain = _settings().model_management
    assert (plain.bounds.loads, plain.bounds.initial_loads) == (8, 8)
    assert (plain.bounds.unloads, plain.bounds.memory) == (None, None)
    assert (plain.labels.allowed, plain.labels.strict) == (True, False)
    assert (plain.keep_last, plain.open_ports_at_once, plain.config_poll) == (True, True, 0)
    assert (plain.retry.permanent_errors, plain.retry.failed_versions) == (False, False)
    assert plain.reload_timeout == 300
    set_up = _settings(
        "--num_load_threads=3",
        "--num_initial_load_threads=5",
        "--num_unload_threads=2",
        "--total_model_memory_limit_bytes=9999999999",
        "--should_retry_model_load=false",
        "--retry_permanent_load_errors",
        "--enable_reload_servables_with_error",
        "--strict_version_labels",
        "--allow_version_labels_for_unavailable_models",
        "--force_allow_any_version_labels_for_unavailable_models",
        "--allow_version_labels=false",
        "--servable_versions_always_present=false",
        "--fail_if_no_model_versions_found",
        "--model_config_file_poll_wait_seconds=-1",
    ).model_management
    assert (set_up.bounds.loads, set_up.bounds.initial_loads) == (3, 5)
    assert (set_up.bounds.unloads, set_up.bounds.memory) == (2, 9999999999)
    assert set_up.retry.max_retries == 0
    assert (set_up.retry.permanent_errors, set_up.retry.failed_versions) == (True, True)
    labels = set_up.labels
    assert (labels.allowed, labels.strict) == (False, True)
    assert (labels.new_may_wait, labels.all_may_wait) == (True, True)
    assert (set_up.keep_last, set_up.fail_without_versions, set_up.config_poll) == (False, True, 0)


def test_flags_without_effect_are_said_only_when_given() -> None:
    assert command_line.without_effect(frozenset({"port"})) == ()
    [(name, sentence)] = command_line.without_effect(frozenset({"port", "use_alts_credentials"}))
    assert name == "use_alts_credentials"
    assert re.match("--use_alts_credentials is accepted .*no effect", sentence)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--port=0"],
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
        ),
        (
            ["--model_base_path="],
            "Both server_options.model_base_path and server_options.model_config_file are empty!",
        ),
        (
            ["--batching_parameters_file=/b"],
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
        ),
        (
            ["--batching_parameters=max_batch_size {}"],
            "server_options.batching_parameters is set without setting server_options.enable_batching to true.",
        ),
        (
            ["--enable_batching", "--batching_parameters=x", "--batching_parameters_file=/x"],
            "--batching_parameters and --batching_parameters_file exclude each other",
        ),
        (
            [
                "--tensorflow_session_parallelism=2",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=3",
            ],
            "You cannot configure all.",
        ),
        (
            ["--servable_state_waiter_timeout_seconds=nan"],
            "--servable_state_waiter_timeout_seconds must be 0 or more",
        ),
        (["--aspired_version_policy=best"], "availability_preserving, resource_preserving"),
        (["--front=go"], "--front=go must be one of native, python"),
        (["--port=99999"], "--port must be between 0 and 65535"),
        (["--port=-1"], "--port must be between 0 and 65535"),
        (["--rest_api_port=-1"], "--rest_api_port must be between 0 and 65535"),
        (["--rest_api_port=65536"], "--rest_api_port must be between 0 and 65535"),
        (
            ["--log_level=loud"],
            "--log_level=loud must be one of debug, info, warning, error",
        ),
        (["--drain_seconds=-1"], "--drain_seconds must be between 0 and 86400 seconds"),
        (["--drain_min_seconds=-1"], "--drain_min_seconds must be between 0 and 86400 seconds"),
        (["--drain_seconds=nan"], "--drain_seconds must be between 0 and 86400 seconds"),
    ],
)
def test_contradictions_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ServingError) as refused:
        _settings(*arguments)
    assert refused.value.code.name == "INVALID_ARGUMENT"
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("arguments", "intra", "inter"),
    [
        (["--tensorflow_session_parallelism=2"], 2, 2),
        (["--tensorflow_session_parallelism=2", "--tensorflow_intra_op_parallelism=1"], 1, 0),
        (["--tensorflow_session_parallelism=2", "--tensorflow_inter_op_parallelism=3"], 0, 3),
        (["--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=3"], 1, 3),
    ],
)
def test_parallelism_as_in_tensorflow_serving(arguments: list[str], intra: int, inter: int) -> None:
    chosen = _settings(*arguments)
    assert (chosen.intra_op_threads, chosen.inter_op_threads) == (intra, inter)


def test_per_model_batching_without_batching_starts_and_says_so() -> None:
    name = "enable_per_model_batching_parameters"
    assert not _settings(f"--{name}").batching
    ((found, sentence),) = command_line.without_effect(frozenset({name}))
    assert (found, sentence) == (name, f"--{name} has no effect without --enable_batching")
    assert command_line.without_effect(frozenset({name, "enable_batching"})) == ()


def test_settings() -> None:
    chosen = _settings(
        "--port=0",
        "--grpc_socket_path=/run/s",
        "--saved_model_tags=serve,gpu",
        "--grpc_channel_arguments=grpc.max_concurrent_streams=5,grpc.x=on,grpc.y=3000000000,grpc.z=-1",
        "--load_retry_interval_micros=-1",
        "--tensorflow_session_parallelism=3",
        "--rest_api_timeout_in_ms=1500",
    )
    assert chosen.tags == {"serve", "gpu"}
    # gRPC's integers have 32 bits.
    assert chosen.channel_arguments == {
        "grpc.max_concurrent_streams": 5,
        "grpc.x": "on",
        "grpc.y": "3000000000",
        "grpc.z": -1,
    }
    assert (chosen.model_management.retry.interval, chosen.model_management.retry.max_retries) == (
        0.0,
        5,
    )
    assert (chosen.intra_op_threads, chosen.inter_op_threads) == (3, 3)
    assert chosen.rest_timeout == 1.5
    assert chosen.model_management.bounds.loads == 8


def test_requests_that_wait_for_a_batch_have_threads_enough() -> None:
    assert _settings("--grpc_max_threads=5").rpc_threads == 5
    batching = _settings("--enable_batching", "--rest_api_num_threads=3")
    assert (batching.rpc_threads >= 256, batching.rest_threads) == (True, 3)


def test_the_least_time_of_a_drain_is_within_the_most() -> None:
    assert (_settings().drain_least, _settings().drain) == (3, 12)
    assert _settings("--drain_min_seconds=20").drain_least == 12
    assert _settings("--drain_seconds=0").drain_least == 0


def test_connections_are_recycled_within_the_drain() -> None:
    assert connection_age(10, 12) == 10
    assert connection_age(10, 6) == pytest.approx(5)
    assert connection_age(10, 0) == 10


def test_the_server_package_has_no_module_beyond_the_soft_limit() -> None:
    import slipway_server

    modules = Path(slipway_server.__file__).parent.rglob("*.py")
    assert [path.name for path in modules if len(path.read_text().splitlines()) > 420] == []


@pytest.mark.parametrize(
    ("arguments", "isolated"),
    [
        (["--model_base_path=/m"], False),
        (["--model_config_file=/c"], True),
        (["--model_config_file=/c", "--isolated_first_load=false"], False),
        (["--model_base_path=/m", "--isolated_first_load=true"], True),
        (["--model_base_path=/m", "--isolated_first_load"], True),
        (["--model_base_path=/m", "--isolated_first_load=auto"], False),
        (["--model_config_file=/c", "--landlock"], False),
    ],
)
def test_versions_are_tried_in_a_child_where_several_share_a_server(
    arguments: list[str], *, isolated: bool
) -> None:
    parsed = command_line.parse(arguments)
    assert parsed.unknown == ()
    assert settings(parsed.values, cpus=2).isolated_load is isolated


@pytest.mark.parametrize(
    ("arguments", "tried"),
    [
        (["--model_base_path=/m"], True),
        (["--model_config_file=/c"], False),
        (["--model_config_file=/c", "--trial_run"], True),
        (["--model_base_path=/m", "--trial_run=false"], False),
        (["--model_base_path=/m", "--trial_run=auto"], True),
    ],
)
def test_signatures_are_tried_where_a_server_has_one_model(
    arguments: list[str], *, tried: bool
) -> None:
    parsed = command_line.parse(arguments)
    assert parsed.unknown == ()
    assert settings(parsed.values, cpus=2).trial_run is tried


@pytest.mark.parametrize(
    ("arguments", "callers"),
    [
        (["--model_base_path=/m"], "local"),
        (["--model_config_file=/c"], "local"),
        (["--model_base_path=/m", "--exit_on_failed_load=true"], "off"),
        (["--model_config_file=/c", "--exit_on_failed_load"], "off"),
        (["--model_base_path=/m", "--exit_on_failed_load", "--reload_rpc=local"], "local"),
        (["--model_config_file=/c", "--reload_rpc=off"], "off"),
        (["--model_base_path=/m", "--reload_rpc=on"], "on"),
    ],
)
def test_who_may_reload_by_default(arguments: list[str], callers: str) -> None:
    """Nobody where a bad model ends the server, as in the pods of Models: anybody could end it."""
    assert (
        settings(command_line.parse(arguments).values, cpus=2).model_management.reload_rpc
        == callers
    )


def test_lists_of_paths() -> None:
    chosen = _settings("--model_roots=/a,/b/c", "--landlock_paths=/x:rw,", "--follow_links")
    assert chosen.model_management.model_roots == ("/a", "/b/c")
    assert chosen.model_management.follow_links
    assert chosen.landlock_paths == ("/x:rw",)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--reload_rpc=yes", "--reload_rpc=yes must be one of auto, local, off, on"),
        ("--model_roots=/a,b", "--model_roots must list absolute paths; b is none"),
        (
            "--landlock --isolated_first_load",
            (
                "--landlock and --isolated_first_load=true exclude each other: TensorFlow reads in /proc about its own "
                "process, and what may be read is fixed before a child process is there"
            ),
        ),
        ("--landlock_paths=~/x", "--landlock_paths must list absolute paths; ~/x is none"),
    ],
)
def test_what_says_who_and_where_is_checked(argument: str, message: str) -> None:
    with pytest.raises(ServingError) as refused:
        _settings(*argument.split())
    assert str(refused.value) == f"INVALID_ARGUMENT: {message}"


@pytest.mark.parametrize(
    "argument",
    [
        "--isolated_first_load=maybe",
        "--trial_run=maybe",
        "--isolated_load_memory_bytes=-1",
        "--load_timeout_seconds=-1",
        "--load_timeout_seconds=nan",
    ],
)
def test_limits_of_loads_that_make_no_sense(argument: str) -> None:
    values = command_line.parse(["--model_base_path=/m", argument]).values
    with pytest.raises(ServingError, match=argument.partition("=")[0]):
        settings(values, cpus=2)


def test_only_the_server_by_its_own_name_has_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["record-checks", "--version"]
    assert "record-checks" not in command_line.usage("tensorflow_model_server")
    assert "record-checks" in command_line.usage("slipway-server")
    assert __main__.run(["/usr/bin/tensorflow_model_server", *arguments]) == 0
    assert capsys.readouterr().out == __main__.version_text()
    assert __main__.run(["/usr/bin/slipway-server", *arguments]) == 255
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("slipway-server record-checks: --version is no option")
    assert said.err.count("\n") == 1
    assert __main__.run(["slipway-server", "record-checks", "-h"]) == 0
    assert capsys.readouterr().out.startswith("usage: slipway-server record-checks EXPORT_DIR")
