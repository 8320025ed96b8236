"""From names in the settings to what exists here."""

import pytest

from pipeline import machine
from pipeline.requirements import NeedsGpu, NeedsModule, Unsupported
from pipeline.settings import Build, TensorRT
from stages.engines import selection
from stages.engines.base import AUTO, BACKENDS


def test_auto_is_a_backend_that_has_a_module() -> None:
    assert selection.backend_name(Build()) == AUTO


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_backend_that_is_named_is_taken(name: str) -> None:
    assert selection.backend_name(Build(backend=name)) == name  # type: ignore[arg-type]


def test_auto_precision_is_the_first_of_the_backend() -> None:
    assert selection.precision(Build(backend="tensorrt")) == "fp16"
    assert selection.precision(Build(precision="bf16")) == "bf16"


def test_auto_device_is_a_gpu_where_the_driver_reports_one() -> None:
    assert selection.device(Build()) == ("cuda" if machine.gpus() else "cpu")
    assert selection.device(Build(device="cuda")) == "cuda"


def test_auto_needs_nothing_but_its_own_package() -> None:
    (only,) = selection.requirements(Build())
    assert isinstance(only, NeedsModule)
    only.check()


def test_what_is_asked_for_by_name_is_needed() -> None:
    _, second = selection.requirements(Build(device="cuda"))
    assert isinstance(second, NeedsGpu)
    _, second = selection.requirements(Build(precision="fp8"))
    assert isinstance(second, Unsupported)


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_backends_module_offers_what_the_protocol_asks_for(name: str) -> None:
    module = selection.backend(name)
    assert callable(module.build)
    assert callable(module.open)


HAS_GPU = bool(machine.gpus())


def _unsupported(build: Build) -> list[Unsupported]:
    return [need for need in selection.requirements(build) if isinstance(need, Unsupported)]


def test_tensorrt_runs_on_gpus_alone() -> None:
    for name in ("tensorrt", "tensorrt-rtx"):
        assert selection.device(Build(backend=name)) == "cuda"
        (only,) = _unsupported(Build(backend=name, device="cpu"))
        assert only.setting == "build.device"


@pytest.mark.skipif(HAS_GPU, reason="a GPU is here")
def test_without_a_gpu_tensorrt_rtx_asks_for_targets_and_tensorrt_for_the_gpu() -> None:
    (only,) = _unsupported(Build(backend="tensorrt-rtx"))
    assert only.setting == "build.backend"
    assert "build.targets is empty" in only.wrong
    assert "sm89" in only.remedy
    assert any(isinstance(n, NeedsGpu) for n in selection.requirements(Build(backend="tensorrt")))


@pytest.mark.parametrize(
    ("target", "precision"), [("sm75", "bf16"), ("sm75", "int4"), ("sm86", "fp8")]
)
def test_what_a_target_cannot_compute_in_is_refused_with_what_it_can(
    target: str, precision: str
) -> None:
    build = Build(backend="tensorrt-rtx", targets=("sm89", target), precision=precision)  # type: ignore[arg-type]
    (only,) = _unsupported(build)
    assert only.setting == "build.precision"
    assert f"{target} cannot compute in it ({precision})" in only.wrong
    assert "fp16" in only.remedy


@pytest.mark.parametrize("precision", ["fp8", "int4"])
def test_a_precision_of_other_backends_names_them(precision: str) -> None:
    (only,) = _unsupported(Build(backend="onnxruntime", precision=precision))  # type: ignore[arg-type]
    assert "backend tensorrt or tensorrt-rtx" in only.remedy


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_with_targets_no_gpu_is_needed(device: str) -> None:
    build = Build(backend="tensorrt-rtx", targets=("sm89",), device=device)  # type: ignore[arg-type]
    (only,) = selection.requirements(build)
    assert isinstance(only, NeedsModule)
    assert selection.device(build) == "cuda"


@pytest.mark.parametrize(
    "tensorrt", [TensorRT(version_compatible=True), TensorRT(hardware_compatibility="ampere-plus")]
)
def test_a_setting_that_an_edition_does_not_have_is_refused_by_its_name(tensorrt: TensorRT) -> None:
    targets = {"tensorrt": (), "tensorrt-rtx": ("sm89",)}
    refused = {
        name: _unsupported(Build(backend=name, targets=names, tensorrt=tensorrt))  # type: ignore[arg-type]
        for name, names in targets.items()
    }
    assert refused["tensorrt"] == []
    (only,) = refused["tensorrt-rtx"]
    assert only.setting.startswith("build.tensorrt.")


@pytest.mark.skipif(HAS_GPU, reason="a GPU is here")
def test_tensorrt_rtx_needs_a_gpu_to_leave_weights_open() -> None:
    tensorrt = TensorRT(weights="stripped")
    (only,) = _unsupported(Build(backend="tensorrt-rtx", targets=("sm89",), tensorrt=tensorrt))
    assert only.setting == "build.tensorrt.weights"


def test_a_known_target_is_right_and_another_gets_the_nearest() -> None:
    assert (
        selection.unsupported_target(Build(backend="tensorrt-rtx", targets=("sm89", "sm120")))
        is None
    )
    fault = selection.unsupported_target(Build(backend="tensorrt-rtx", targets=("sm98",)))
    assert fault is not None
    assert "'sm89'" in fault.wrong
    assert selection.unsupported_target(Build(targets=("sm89",))) is not None
    for target, guess in (("sm90", ""), ("SM89", "'sm89'")):
        fault = selection.unsupported_target(Build(backend="tensorrt-rtx", targets=(target,)))
        assert fault is not None
        assert guess in fault.wrong
        assert ("did you mean" in fault.wrong) == bool(guess)


def _pretend(monkeypatch: pytest.MonkeyPatch, name: str, compute_capability: str) -> None:
    """Let a GPU be here, and all backends be installed."""
    gpu = machine.Gpu(name, compute_capability, "580.159.04")
    monkeypatch.setattr(machine, "gpus", lambda: (gpu,))
    monkeypatch.setattr(machine, "has_module", lambda _: True)


def test_a_gpu_that_a_backend_has_no_code_for_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _pretend(monkeypatch, "NVIDIA H100 80GB HBM3", "9.0")
    (only,) = _unsupported(Build(backend="tensorrt-rtx"))
    assert only.setting == "build.backend"
    assert "NVIDIA H100 80GB HBM3, sm90" in only.wrong
    assert selection.backends_here("cuda") == ("onnxruntime", "tensorrt")
    assert _unsupported(Build(backend="tensorrt-rtx", targets=("sm89",))) == []


def test_a_precision_that_the_gpu_here_lacks_is_neither_built_nor_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _pretend(monkeypatch, "NVIDIA GeForce RTX 3060", "8.6")
    (only,) = _unsupported(Build(backend="tensorrt-rtx", precision="fp8"))
    assert "NVIDIA GeForce RTX 3060" in only.wrong
    precisions = {entry.precision for entry in selection.candidates(Build(backend="tensorrt-rtx"))}
    assert precisions == {"fp16", "fp32", "bf16", "int8"}
