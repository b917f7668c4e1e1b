"""§2: which paths a change of the models may name."""

from __future__ import annotations

import pytest

from slipway_server.control.model_roots import ModelRoots, check_fixed
from slipway_server.errors import ServingError
from slipway_server.storage.source import LoggingRule, ModelConfig
from slipway_server.storage.versions import All, Latest, Specific


def model(base_path: str, log: str = "", name: str = "m") -> ModelConfig:
    return ModelConfig(name, base_path, logging=LoggingRule(log, 1.0) if log else None)


def started_with(*configs: ModelConfig, named: tuple[str, ...] = ()) -> ModelRoots:
    roots = ModelRoots(named)
    roots.trust(configs)
    return roots


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "/",
        "/models2/m",
        "/model",
        "/models/../etc",
        "/models/m/../../etc",
        "/models/link/../m",  # of which only the file system knows where it is
        "//etc",
        "/proc/self",
    ],
)
def test_a_reload_may_not_lead_out_of_the_folders_of_the_first_models(path: str) -> None:
    roots = started_with(model("/models/m"))
    with pytest.raises(ServingError) as refused:
        roots.confined((model("/models/m", name="a"), model(path)))
    assert str(refused.value) == (
        f"PERMISSION_DENIED: Model m has base_path {path}, which is not in a folder that this server may use for "
        "models; name the folder in --model_roots"
    )


@pytest.mark.parametrize("path", ["/models/m", "/models/n", "/models/deep/er", "//models/./n/"])
def test_models_may_be_added_beside_the_first(path: str) -> None:
    [confined] = started_with(model("/models/m/")).confined((model(path),))
    assert confined == model(path)
    known = confined.base_path == "/models/m"
    assert confined.within == (() if known else ("/models",)), "links are judged when it is listed"


def test_a_base_path_below_the_root_does_not_open_everything() -> None:
    roots = started_with(model("/m"))
    assert roots.confined((model("/m"),)) == (model("/m"),)
    assert roots.confined((model("/m/deeper"),)) == (model("/m/deeper"),)
    with pytest.raises(ServingError, match="base_path /n,"):
        roots.confined((model("/n"),))


@pytest.mark.parametrize(
    ("log", "allowed"),
    [
        ("/log/requests/m", True),
        ("/log/requests/other", True),
        ("/log/requests/deep/er", True),
        ("/log/else", False),
        ("/log/requests/../else", False),
        ("/log/requests/link/../m", False),
        ("/etc/cron.d/x", False),
        ("/models/log/x", True),
        ("/models/m/9/x", False),  # it would become a version
        ("/models/new/9/x", False),  # likewise: a base path of the same list
    ],
)
def test_where_a_reload_may_have_requests_logged(log: str, *, allowed: bool) -> None:
    roots = started_with(model("/models/m", "/log/requests/m"))
    asked = (model("/models/new", log, name="new"),)
    if allowed:
        assert roots.confined(asked) == asked
        return
    with pytest.raises(ServingError) as refused:
        roots.confined(asked)
    assert str(refused.value) == (
        f"PERMISSION_DENIED: Model new has filename_prefix {log}, which is not in a folder that this server may use "
        "for request logs; name the folder in --model_roots"
    )


def test_a_folder_for_logs_is_none_for_models() -> None:
    with pytest.raises(ServingError, match="has base_path /log/requests/1"):
        started_with(model("/models/m", "/log/requests/m")).confined((model("/log/requests/1"),))


@pytest.mark.parametrize("prefix", ["/x", "/logs/"])
def test_a_prefix_names_no_folder_above_its_own(prefix: str) -> None:
    roots = started_with(model("/models/m", prefix))
    assert roots.confined((model("/models/m", prefix),))
    with pytest.raises(ServingError, match="filename_prefix /y"):
        roots.confined((model("/models/m", "/y"),))


def test_folders_that_are_named_hold_for_every_configuration() -> None:
    roots = ModelRoots(("/a", "/b/"))
    for path in ("/a/m", "/b/m", "/b"):
        [config] = roots.trust((model(path, "/a/log"),))
        assert config.within == ("/a", "/b")
    for config in (model("/c/m"), model("/a/m", "/c/log")):
        with pytest.raises(ServingError, match=r"Model m has \w+ /c/"):
            roots.trust((config,))
        with pytest.raises(ServingError, match=r"Model m has \w+ /c/"):
            roots.confined((config,))


def test_what_the_file_says_later_counts_as_well() -> None:
    roots = started_with(model("/models/m"))
    roots.trust((model("/others/m"),))
    assert roots.confined((model("/models/x"), model("/others/x", name="n")))


def test_of_several_lists_that_name_models_the_first_counts() -> None:
    """Where neither the command line nor the file names a model."""
    roots = started_with()
    assert roots.confined((model("/anywhere/m"),)) == (model("/anywhere/m"),)
    roots.trust_first(())
    roots.trust_first((model("/models/m"),))
    roots.trust_first((model("/later/m"),))
    assert roots.confined((model("/models/n"),))
    with pytest.raises(ServingError, match="base_path /later/m"):
        roots.confined((model("/later/m"),))


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param((), id="nothing"),
        pytest.param((model("/models/other", name="other"),), id="another"),
        pytest.param((model("/models/n"),), id="its name at another place"),
        pytest.param((model("/models/x/../m"),), id="in disguise"),
        pytest.param((ModelConfig("m", "/models/m", All()),), id="all versions"),
        pytest.param((ModelConfig("m", "/models/m", Latest(2)),), id="more versions"),
        pytest.param((ModelConfig("m", "/models/m", Specific(frozenset())),), id="no version"),
        pytest.param((ModelConfig("m", "/models/m", Specific(frozenset({9}))),), id="another one"),
    ],
)
def test_what_the_command_line_names_stays(asked: tuple[ModelConfig, ...]) -> None:
    with pytest.raises(ServingError) as refused:
        check_fixed((model("/models/m"),), asked)
    assert str(refused.value) == (
        "PERMISSION_DENIED: Model m is named on the command line of this server: a reload must list it with base_path "
        "/models/m and without a version policy, unless the server is started with --model_config_file or "
        "--reload_rpc=on"
    )


@pytest.mark.parametrize("count", [0, 1])
def test_others_may_come_and_go_beside_it(count: int) -> None:
    kept = ModelConfig("m", "/models/m/", Latest(count), {"stable": 1})
    check_fixed((model("/models/m"),), (kept, model("/models/other", name="other")))
    check_fixed((), ())


def test_the_root_of_everything_can_be_named() -> None:
    """TensorFlow Serving's way."""
    assert ModelRoots(("/",)).confined((model("/etc/m", "/log/x"),))
