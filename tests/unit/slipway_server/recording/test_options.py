"""The command line of `record-checks`."""

from __future__ import annotations

import pytest

from slipway_server.errors import ServingError
from slipway_server.recording.options import read_options, usage

WRONG = [
    ([], "not no directory"),
    ([""], "not 1 directories"),
    (["a", "b"], "not 2 directories; a value follows its option behind ="),
    (["a", "--requests", "b"], "--requests needs a value: --requests=VALUE"),
    (["a", "--requests="], "--requests needs a value"),
    (["a", "--tolerance=x"], "--tolerance=x must be a number from 0 on, or OUTPUT=NUMBER"),
    (["a", "--tolerance=-1"], "must be a number from 0 on"),
    (["a", "--tolerance=y=nan"], "must be a number from 0 on"),
    (["a", "--relative_tolerance=y=inf"], "must be a number from 0 on"),
    (["a", "--force=yes"], "--force=yes must be true or false"),
    (["a", "--tolerances=1"], "There is no option --tolerances=1: did you mean --tolerance?"),
    (["a", "--prefer-tflite-model"], "did you mean --prefer_tflite_model?"),
    (["a", "-x"], "There is no option -x (--help lists what record-checks takes)"),
    (["a", "--"], "There is no option --"),
    (["a", "--port=x"], "Couldn't interpret value x for flag port."),
    (["a", "--model_base_path=b"], "--model_base_path is no option of record-checks"),
    (["a", "--model_config_file=b"], "--model_config_file is no option of record-checks"),
    (["a", "--version"], "--version is no option of record-checks"),
    (["a", "--help=markdown"], "There is no option --help=markdown"),
    (["a", "--without_output=y", "--tolerance=y=1"], 'Output "y" is left out'),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_what_is_wrong_is_said_in_one_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(ServingError) as error:
        read_options(arguments)
    assert words in error.value.message
    assert "\n" not in error.value.message


def test_options_are_the_commands_own_or_the_servers() -> None:
    found = read_options(
        [
            "--saved_model_tags=serve,gpu", "a", "--without-output=x", "--without_output=y=1", "--force=false",
            "--relative-tolerance=0.1", "--tolerance=p=q=2", "--prefer_tflite_model", "--update_sha256sums", "--out=o",
        ]
    )  # fmt: skip
    assert (found.export, found.out, found.force, found.update_manifest) == ("a", "o", False, True)
    assert found.left_out == {"x", "y=1"}
    assert (found.tolerances.relative, found.tolerances.absolute) == ({"": 0.1}, {"p=q": 2.0})
    assert found.server == ("--saved_model_tags=serve,gpu", "--prefer_tflite_model")


def test_help_wins_over_mistakes_and_names_the_program() -> None:
    assert read_options(["--nonsense", "--help"]).help
    assert "  slipway-server record-checks models/digits/3\n" in usage("slipway-server")
    assert "PROGRAM" not in usage("slipway-server")
