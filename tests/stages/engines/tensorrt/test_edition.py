"""The two editions."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.settings import Build
from stages.engines.base import BACKENDS
from stages.engines.tensorrt import standard
from stages.engines.tensorrt.edition import EDITIONS, RTX, STANDARD
from tests.stages.engines.tensorrt.conftest import NewRequest


def test_each_edition_is_a_backend_with_a_module_of_its_own() -> None:
    needs = {name: BACKENDS[name].needs for name in EDITIONS}
    assert needs == {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def test_an_edition_that_does_not_load_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(UnavailableError, match=r"TensorRT-RTX does not load .*madpipe\[tensorrt-"):
        RTX.module()


def test_a_tensorrt_without_strong_typing_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("tensorrt")
    old.__version__ = "8.6.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(UnavailableError, match=r"TensorRT is too old \(8\.6\.1\)"):
        STANDARD.module()


@pytest.mark.skipif(machine.has_module("tensorrt"), reason="TensorRT is installed")
def test_without_the_package_a_build_names_the_command_that_installs_it(
    new_request: NewRequest,
) -> None:
    request = replace(new_request(), options=Build(backend="tensorrt"))
    with pytest.raises(UnavailableError, match=r"TensorRT does not load .*pip install 'madpipe"):
        standard.build(request)
    assert not request.engine.exists()
