"""Facts of the machine come from its own interfaces, and their absence is a fact too."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import __version__, machine


@pytest.fixture(autouse=True)
def _facts_are_read_anew() -> Iterator[None]:
    machine.gpus.cache_clear()
    machine._cpu_info.cache_clear()
    yield
    machine.gpus.cache_clear()
    machine._cpu_info.cache_clear()


class NVMLError(Exception):
    """What the driver's library raises."""


def no_device() -> int:
    raise NVMLError


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace NVML by one that reports two GPUs."""
    gpus = [("NVIDIA H200", (9, 0)), ("NVIDIA T4", (7, 5))]
    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: "570.1",
        nvmlDeviceGetCount=lambda: len(gpus),
        nvmlDeviceGetHandleByIndex=lambda index: gpus[index],
        nvmlDeviceGetUUID=lambda gpu: f"GPU-{gpu[0].split()[1]}-0",
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetDeviceHandleFromMigDeviceHandle=lambda name: gpus[int(name[-1])],
        nvmlDeviceGetName=lambda gpu: gpu[0],
        nvmlDeviceGetCudaComputeCapability=lambda gpu: gpu[1],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "")  # put back after the test
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    return nvml


def test_gpus_are_those_that_the_driver_reports(driver: SimpleNamespace) -> None:
    assert machine.gpus() == (("NVIDIA H200", "9.0", "570.1"), ("NVIDIA T4", "7.5", "570.1"))
    assert machine.fact("gpu") == "NVIDIA H200 (9.0)"
    assert machine.fact("driver") == driver.nvmlSystemGetDriverVersion()
    assert machine.host()["gpu1"] == "NVIDIA T4 (driver 570.1)"


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1", ["NVIDIA T4"]),
        ("1, 0", ["NVIDIA T4", "NVIDIA H200"]),
        ("0,7,1", ["NVIDIA H200"]),
        ("GPU-T4", ["NVIDIA T4"]),
        ("MIG-1", ["NVIDIA T4"]),
        ("-1", []),
        ("", []),
    ],
)
@pytest.mark.usefixtures("driver")
def test_gpus_are_those_that_cuda_shows_in_its_order(
    monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.name for gpu in machine.gpus()] == names
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("name", "call"),
    [("nvmlInit", no_device), ("nvmlDeviceGetCount", no_device), ("nvmlDeviceGetCount", int)],
)
def test_driver_that_reports_none_is_no_gpu(
    driver: SimpleNamespace, name: str, call: Callable[[], Any]
) -> None:
    setattr(driver, name, call)
    assert machine.gpus() == ()
    assert machine.fact("gpu") == "absent (absent)"
    assert machine.fact("driver") == "absent"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere NVML itself looks for the driver")
def test_without_the_drivers_library_nvml_is_not_even_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "_NVML_LIBRARY", "libno-such-library.so.1")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert machine.gpus() == ()


def test_processor_is_what_the_system_describes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu avx2 amx_tile\n\n"
        "processor\t: 1\nmodel name\t: Another\nflags\t\t: fpu\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(machine, "_CPU_INFO", info)
    assert machine.cpu_model() == "A CPU"
    assert machine.cpu_flags() == {"fpu", "avx2", "amx_tile"}
    assert machine.fact("cpu_features") == "avx2"
    assert machine.fact("cpu") == f"A CPU x{machine.cpu_count()}"
    assert machine.cpu_count() >= 1


def test_system_without_a_description_has_a_processor_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "absent")
    assert machine.cpu_model()
    assert machine.fact("cpu_features") == "absent"


def test_unknown_fact_is_an_error() -> None:
    with pytest.raises(KeyError):
        machine.fact("moon")


def test_versions_are_those_installed_or_absent() -> None:
    assert machine.version("pytest") == metadata.version("pytest")
    assert machine.version("no-such-package") == "absent"
    assert machine.version("no-such-package|pytest") == metadata.version("pytest")


def test_a_module_is_looked_up_without_being_imported() -> None:
    assert machine.has_module("msgspec")
    assert not machine.has_module("no_such_module")


def test_memory_is_what_the_system_has() -> None:
    import psutil

    assert machine.memory_bytes() == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("groups", "limits", "expected_bytes"),
    [
        ("0::/a/b\n", {"memory.max": "900", "a/memory.max": "700", "a/b/memory.max": "max"}, 700),
        ("0::/of/the/host\n", {"memory.max": "800"}, 800),
        ("0::/\n", {}, None),
        (
            "4:memory:/a\n3:cpuset:/b\n0::/\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/a/memory.limit_in_bytes": "600",
                "cpuset/b/memory.limit_in_bytes": "1",
            },
            600,
        ),
        ("2:cpu,memory:/\n", {"memory/memory.limit_in_bytes": "500"}, 500),
    ],
)
def test_memory_in_a_container_is_the_least_limit_of_its_groups(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    groups: str,
    limits: dict[str, str],
    expected_bytes: int | None,
) -> None:
    for name, text in limits.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    (tmp_path / "own").write_text(groups, encoding="utf-8")
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "groups")
    assert machine.usable_memory_bytes() == (expected_bytes or machine.memory_bytes())


def test_without_control_groups_all_memory_may_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "none")
    assert machine.usable_memory_bytes() == machine.memory_bytes()


def test_host_has_what_places_a_figure() -> None:
    facts = machine.host()
    assert {"madpipe", "python", "system", "cpu", "cores", "memory_gib"} <= facts.keys()
    assert facts["madpipe"] == __version__
    assert float(facts["memory_gib"]) > 0
    assert all(isinstance(value, str) for value in facts.values())


def test_what_is_installed_is_named_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"onnxruntime": "1.30.0", "tensorrt-cu13": "11.4.0"}

    def version(name: str) -> str:
        if name not in here:
            raise metadata.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(metadata, "version", version)
    facts = machine.host()
    assert facts["onnxruntime"] == "1.30.0"
    assert facts["tensorrt-cu13"] == "11.4.0"
    assert facts["torch"] == "absent"
    assert not {"onnxruntime-gpu", "tensorrt"} & facts.keys()


def test_environment_has_versions_and_the_revision(tmp_path: Path) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], [*who, "commit", "-q", "-m", "x", "--allow-empty"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)  # noqa: S607
    facts = machine.environment(tmp_path)
    assert len(facts["git"]) == 12
    assert facts["onnxruntime-gpu"]
    assert machine.host().items() <= facts.items()


def test_folder_without_git_has_no_revision(tmp_path: Path) -> None:
    assert machine.environment(tmp_path / "gone")["git"] == "absent"
