"""What the inspector's text proves; its form is NVIDIA's and was not seen on a GPU by us."""

import json

import pytest

from pipeline.errors import StageError
from stages.engines.tensorrt import engine_inspector


def _text(*datatypes: str) -> str:
    outputs = [[{"Name": "t", "Format/Datatype": each}] for each in datatypes]
    return json.dumps({"Layers": [{"Name": "l", "Outputs": each} for each in outputs]})


def test_types_are_counted_by_their_names() -> None:
    text = _text("Row major linear FP32", "Half", "Channel major FP16 format", "Int8", "BF16")
    assert engine_inspector.layer_types(text) == {"bf16": 1, "fp16": 2, "fp32": 1, "int8": 1}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Layers": ["name only"]}', '{"Layers": [{}]}'])
def test_a_text_that_tells_of_no_types_proves_nothing(text: str) -> None:
    assert engine_inspector.layer_types(text) == {}
    engine_inspector.check_precision({}, "fp16")


def test_an_engine_without_the_precision_asked_for_is_refused() -> None:
    engine_inspector.check_precision({"fp16": 1, "fp32": 9}, "fp16")
    with pytest.raises(StageError, match=r"no int8 layer \(its tensors: fp16 1, fp32 9\)"):
        engine_inspector.check_precision({"fp16": 1, "fp32": 9}, "int8")
