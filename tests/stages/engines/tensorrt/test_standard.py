"""The edition for data-centre GPUs, whose libraries are not at hand: it is refused cleanly."""

from dataclasses import replace

import pytest

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.settings import Build
from stages.engines.tensorrt import standard
from tests.stages.engines.tensorrt.conftest import MakeOrder


@pytest.mark.skipif(machine.has_module("tensorrt"), reason="TensorRT is installed")
def test_without_the_package_a_build_says_how_to_get_it(order: MakeOrder) -> None:
    asked = replace(order(), options=Build(backend="tensorrt"))
    with pytest.raises(UnavailableError, match=r"TensorRT does not load .*pip install 'madpipe"):
        standard.build(asked)
    assert not asked.engine.exists()
