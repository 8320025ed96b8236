"""From names in the settings to what exists here."""

import pytest

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.requirements import NeedsGpu, NeedsModule, Refused
from pipeline.settings import Build
from stages.engines import resolve
from stages.engines.base import AUTO, BACKENDS


def test_auto_is_a_backend_that_has_a_module() -> None:
    assert resolve.backend_name(Build()) == AUTO
    assert BACKENDS[AUTO].module is not None


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_backend_that_is_named_is_taken(name: str) -> None:
    assert resolve.backend_name(Build(backend=name)) == name  # type: ignore[arg-type]


def test_auto_precision_is_the_first_of_the_backend() -> None:
    assert resolve.precision(Build(backend="tensorrt")) == "fp16"
    assert resolve.precision(Build(precision="bf16")) == "bf16"


def test_auto_device_is_a_gpu_where_the_driver_reports_one() -> None:
    assert resolve.device(Build()) == ("cuda" if machine.gpus() else "cpu")
    assert resolve.device(Build(device="cuda")) == "cuda"


def test_auto_needs_nothing_but_its_own_package() -> None:
    (only,) = resolve.requirements(Build())
    assert isinstance(only, NeedsModule)
    only.check()


def test_what_is_asked_for_by_name_is_needed() -> None:
    _, second = resolve.requirements(Build(device="cuda"))
    assert isinstance(second, NeedsGpu)
    _, second = resolve.requirements(Build(precision="fp8"))
    assert isinstance(second, Refused)


@pytest.mark.parametrize("name", [n for n, info in BACKENDS.items() if info.module is None])
def test_a_backend_without_a_module_is_refused_and_the_others_are_named(name: str) -> None:
    with pytest.raises(UnavailableError, match="not in this version"):
        resolve.backend(name)
    refused = [
        each
        for each in resolve.requirements(Build(backend=name))  # type: ignore[arg-type]
        if isinstance(each, Refused)
    ]
    assert "onnxruntime" in refused[0].remedy


@pytest.mark.parametrize("name", [n for n, info in BACKENDS.items() if info.module])
def test_a_backends_module_offers_what_the_protocol_asks_for(name: str) -> None:
    module = resolve.backend(name)
    assert callable(module.build)
    assert callable(module.open)
