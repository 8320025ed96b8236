"""What this machine can do, examined by trying."""

from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from pipeline import machine
from stages import doctor, version_conflicts
from stages.doctor import Finding
from stages.engines import ort_provider, providers
from stages.engines.base import BACKENDS
from stages.engines.providers import PROVIDERS
from stages.onnxgraph import convert
from stages.training import device
from tests.versions import needs_onnxruntime_for_cuda_13


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    home: Path = tmp_path_factory.mktemp("home") / "not" / "yet" / "there"
    return {finding.name: finding for finding in doctor.examine(home)}


def test_the_machine_and_every_backend_are_examined(findings: dict[str, Finding]) -> None:
    machine_ = {"python", "cpu", "clocks", "disk", "gpu"}
    assert machine_ | {"torch", "versions", *BACKENDS} <= findings.keys()


def test_whatever_is_lacking_comes_with_its_fix(findings: dict[str, Finding]) -> None:
    assert all(finding.detail for finding in findings.values())
    assert all(finding.fix for finding in findings.values() if finding.state != "ok")


def test_what_is_installed_is_named_with_its_version(findings: dict[str, Finding]) -> None:
    assert machine.version("torch").partition("+")[0] in findings["torch"].detail
    ort = machine.version("onnxruntime-gpu|onnxruntime")
    assert ort in findings["onnxruntime"].detail


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_without_a_gpu_nothing_is_lacking_to_run_on_the_cpu(findings: dict[str, Finding]) -> None:
    assert findings["gpu"].state == "note"
    assert findings["torch"].state == findings["onnxruntime"].state == "ok"


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(
    findings: dict[str, Finding],
) -> None:
    assert "GiB free at" in findings["disk"].detail


def test_a_governor_that_changes_the_clock_is_noted_with_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_CPUFREQ", tmp_path)
    assert doctor._clocks().state == "ok"
    governor = tmp_path / "scaling_governor"
    governor.write_text("powersave\n", encoding="utf-8")
    finding = doctor._clocks()
    assert (finding.state, "powersave" in finding.detail) == ("note", True)
    assert "--governor performance" in finding.fix
    governor.write_text("performance\n", encoding="utf-8")
    assert doctor._clocks().state == "ok"


def test_versions_that_do_not_fit_are_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        version_conflicts,
        "conflicts",
        lambda: iter([version_conflicts.Conflict("a and b", "drop a")]),
    )
    assert doctor.examine(tmp_path)[-1] == Finding("versions", "note", "a and b", "drop a")


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
@needs_onnxruntime_for_cuda_13
def test_every_library_that_the_cuda_provider_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (machine.Gpu("NVIDIA T4", "7.5", "580.1"),))
    finding = doctor._onnxruntime()
    assert finding.state == "lacking"
    assert "libcuda.so.1" in finding.detail  # of the driver, without which there is no GPU
    assert "madpipe[cuda]" in finding.fix


def test_a_gpu_for_which_networks_cannot_be_compiled_is_noted_with_its_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device, "select", lambda: device.Compute(torch.device("cuda"), "fp32"))
    monkeypatch.setattr(device.Compute, "why_eager", lambda _: "no C compiler")
    finding = doctor._torch()
    assert finding.state == "note"
    assert finding.detail.endswith("no C compiler")
    assert "gcc" in finding.fix


def test_a_backend_without_code_for_the_gpu_that_is_here_is_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not machine.has_module("tensorrt_rtx"):
        pytest.skip("tensorrt_rtx is not installed")
    monkeypatch.setattr(machine, "gpus", lambda: (machine.Gpu("NVIDIA H100", "9.0", "580.1"),))
    assert "(sm90)" in doctor._gpu().detail
    finding = doctor._backend("tensorrt-rtx")
    assert finding.state == "note"
    assert "not on this GPU (NVIDIA H100, sm90)" in finding.detail
    monkeypatch.setattr(machine, "gpus", lambda: (machine.Gpu("NVIDIA L4", "8.9", "580.1"),))
    assert doctor._backend("tensorrt-rtx").state == "ok"
    monkeypatch.setattr(machine, "gpus", lambda: (machine.Gpu("NVIDIA H100", "9.0", "580.1"),))
    monkeypatch.setattr(machine, "has_module", lambda _: False)
    assert "install" not in doctor._backend("tensorrt-rtx").fix


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
@needs_onnxruntime_for_cuda_13
def test_a_provider_of_another_cuda_than_torch_has_a_fix_of_torchs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (machine.Gpu("NVIDIA T4", "7.5", "535.1"),))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    finding = doctor._onnxruntime()
    assert "built for CUDA 13 and torch for 12.8" in finding.detail
    assert "onnxruntime-gpu[cuda,cudnn]<1.27" in finding.fix


def test_an_environment_without_pip_says_what_to_type_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "version", lambda _: "26.0")
    assert doctor._python().state == "ok"
    monkeypatch.setattr(machine, "version", lambda _: machine.ABSENT)
    assert "uv pip" in doctor._python().fix


def test_the_probe_of_a_gpu_is_sound() -> None:
    doctor._try_convolution("cpu")


@pytest.mark.parametrize("saturates", [True, False])
def test_int8_without_vnni_is_noted(
    monkeypatch: pytest.MonkeyPatch,
    saturates: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(convert, "int8_products_saturate", lambda: saturates)
    findings = doctor._int8()
    assert len(findings) == saturates
    assert all("7 bits" in finding.detail for finding in findings)


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_each_execution_provider_that_compiles_is_there_or_not_or_in_conflict(
    findings: dict[str, Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx = "cuda-tensorrt-rtx"
    assert {"onnxruntime cuda-tensorrt", f"onnxruntime {rtx}"} <= findings.keys()
    monkeypatch.setattr(machine, "has_module", lambda _: False)
    absent = doctor._provider(rtx)
    assert (absent.state, absent.fix) == ("note", PROVIDERS[rtx].install)
    monkeypatch.setattr(machine, "has_module", lambda _: True)
    monkeypatch.setattr(version_conflicts, "provider_conflict", lambda _: None)
    assert doctor._provider(rtx).state == "ok"
    assert "not tried" in doctor._provider(rtx).detail
    conflict = version_conflicts.Conflict("two of one", "drop one")
    monkeypatch.setattr(version_conflicts, "provider_conflict", lambda _: conflict)
    assert doctor._provider(rtx)[1:] == ("lacking", "absent; two of one", "drop one")


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here")
def test_an_execution_provider_is_tried_where_a_gpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (machine.Gpu("NVIDIA L4", "8.9", "580.1"),))
    monkeypatch.setattr(version_conflicts, "provider_conflict", lambda _: None)
    row = PROVIDERS["cuda-tensorrt"]._replace(module="onnxruntime")
    table = MappingProxyType(dict(PROVIDERS) | {"cuda-tensorrt": row})
    for module in (doctor, ort_provider, providers):
        monkeypatch.setattr(module, "PROVIDERS", table)
    finding = doctor._provider("cuda-tensorrt")
    assert finding.state == "lacking"
    assert "TensorrtExecutionProvider does not load here" in finding.detail
    monkeypatch.setattr(doctor, "_try_convolution", lambda _: None)
    assert doctor._provider("cuda-tensorrt").state == "ok"
