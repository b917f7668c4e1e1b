"""Signatures, from both APIs."""

import pytest

from slipway_cli.errors import CliError, UsageError
from slipway_cli.serving.signature import Signature, chosen, of_messages, of_metadata
from slipway_cli.wire import serving_pb2 as wire

INFO = {
    "dtype": "DT_FLOAT",
    "tensor_shape": {"dim": [{"size": "-1"}, {"size": "784"}], "unknown_rank": False},
    "name": "x:0",
}


def test_both_apis_tell_the_same() -> None:
    definition = wire.SignatureDef(method_name="tensorflow/serving/predict")
    info = definition.inputs["x"]
    info.name, info.dtype = "x:0", 1
    info.tensor_shape.dim.add(size=-1)
    info.tensor_shape.dim.add(size=784)
    messages = of_messages({"serving_default": definition, "__saved_model_init_op": definition})
    version, told = of_metadata(
        {
            "model_spec": {"version": "3"},
            "metadata": {
                "signature_def": {
                    "signature_def": {
                        "serving_default": {
                            "inputs": {"x": INFO},
                            "method_name": "tensorflow/serving/predict",
                        }
                    }
                }
            },
        }
    )
    assert version == 3
    assert told == messages
    assert list(messages) == ["serving_default"]
    assert messages["serving_default"].inputs["x"].describe() == "float32 [?, 784]"


def test_shapes_of_any_rank_and_types_of_tomorrow() -> None:
    definition = wire.SignatureDef()
    definition.inputs["any"].tensor_shape.unknown_rank = True
    definition.inputs["new"].dtype = 99
    found = of_messages({"s": definition})["s"].inputs
    assert found["any"].describe() == "type 0, any shape"
    assert found["new"].type_name == "type 99"


@pytest.mark.parametrize("answer", [[], {}, {"metadata": {"signature_def": 1}}, "x", None])
def test_an_answer_of_another_program_is_told_as_such(answer: object) -> None:
    with pytest.raises(CliError, match="is another program listening"):
        of_metadata(answer)


def test_the_default_is_the_usual_one_or_the_only_one() -> None:
    one = Signature("", {}, {})
    assert chosen({"a": one}, "", "m")[0] == "a"
    assert chosen({"a": one, "serving_default": one}, "", "m")[0] == "serving_default"
    with pytest.raises(UsageError, match="did you mean 'serving_default'"):
        chosen({"a": one, "serving_default": one}, "serving_defualt", "m")
    with pytest.raises(UsageError, match="there is 'a', 'b'"):
        chosen({"a": one, "b": one}, "", "m")
    with pytest.raises(UsageError, match="none at all"):
        chosen({}, "", "m")
