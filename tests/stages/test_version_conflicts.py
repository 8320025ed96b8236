"""Pairs of versions that are known not to fit are reported with the fix."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from pipeline import machine
from stages import version_conflicts


def installed(versions: Mapping[str, str]) -> version_conflicts.Version:
    def version(names: str) -> str:
        return next((versions[n] for n in names.split("|") if n in versions), machine.ABSENT)

    return version


def test_what_is_installed_here_fits() -> None:
    conflicts = version_conflicts.conflicts()
    assert [c for c in conflicts if "TensorrtExecutionProvider" not in c.detail] == []


def test_a_package_that_pins_an_older_one_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {"torch-tensorrt": ["torch<2.15", 'odd; extra == "x"', "tensorrt-cu13<11.2"]}
    monkeypatch.setattr(metadata, "requires", lambda name: needs.get(name, []))
    versions = {"torch": "2.15.0", "torch-tensorrt": "2.14.0", "tensorrt-cu13": "11.1.0"}
    (conflict,) = version_conflicts.declared_conflicts(installed(versions))
    assert conflict.detail == "torch-tensorrt 2.14.0 wants torch<2.15 (2.15.0)"
    assert conflict.fix == "pip install 'torch<2.15', or remove torch-tensorrt"


@pytest.mark.parametrize(
    ("cuda", "driver", "is_old"),
    [
        ("13.2", "550.54", True),
        ("13.2", "580.95.05", False),
        ("12.8", "525.60", False),
        ("12.8", "470.1", True),
        (None, "470.1", False),
        ("13.2", "absent", False),
        ("99.0", "470.1", False),
    ],
)
def test_a_driver_too_old_for_the_build_of_torch_is_a_conflict(
    cuda: str | None, driver: str, *, is_old: bool
) -> None:
    conflict = version_conflicts.driver_conflict(cuda, driver)
    assert (conflict is not None) is is_old
    if conflict is not None:
        assert driver in conflict.detail


def test_two_onnxruntimes_at_once_are_in_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", tuple)
    monkeypatch.setattr(metadata, "requires", lambda name: [])  # noqa: ARG005
    both = installed({"onnxruntime": "1.31", "onnxruntime-gpu": "1.31"})
    (conflict,) = version_conflicts.conflicts(both)
    assert "overwrite each other" in conflict.detail
    assert list(version_conflicts.conflicts(installed({"onnxruntime": "1.31"}))) == []


def test_tensorrt_of_two_cudas_at_once_is_in_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: [])  # noqa: ARG005
    both = installed({"tensorrt-cu12": "11.4.0", "tensorrt-cu13": "11.4.0"})
    first = next(iter(version_conflicts.conflicts(both)))
    assert first.detail.startswith("tensorrt-cu12 and tensorrt-cu13 are both installed")


@pytest.mark.parametrize("cuda", [None, "13.2"])
def test_onnxruntime_of_torchs_cuda_or_beside_none_is_no_conflict(cuda: str | None) -> None:
    linked = ["libcublas.so.13", "libcudart.so.13"]
    assert version_conflicts.other_cuda_than_torch(linked, cuda) is None
    assert version_conflicts.other_cuda_than_torch([], "12.8") is None


def test_bindings_without_their_libraries_are_in_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", tuple)
    (conflict,) = version_conflicts.conflicts(installed({"tensorrt-cu13-bindings": "11.4.0"}))
    assert conflict.detail == "tensorrt-cu13-bindings is 11.4.0 and tensorrt-cu13-libs absent"
    whole = installed({"tensorrt-cu13-bindings": "11.4.0", "tensorrt-cu13-libs": "11.4.0"})
    assert list(version_conflicts.conflicts(whole)) == []


def test_a_provider_that_links_another_tensorrt_is_a_conflict() -> None:
    linked = ["libc.so.6", "libnvinfer.so.10"]
    versions = installed({"tensorrt": "11.4.0"})
    (conflict,) = version_conflicts.tensorrt_of_onnxruntime(linked, versions)
    assert "libnvinfer.so.10" in conflict.detail
    for names, version in ((linked, {"tensorrt": "10.12"}), ([], {"tensorrt": "11.4"})):
        assert not [*version_conflicts.tensorrt_of_onnxruntime(names, installed(version))]
    assert not [*version_conflicts.tensorrt_of_onnxruntime(linked, installed({}))]


def test_the_libraries_that_a_library_asks_for_are_read_and_tried(tmp_path: Path) -> None:
    library = tmp_path / "libours.so"
    library.write_bytes(b"\x7fELF\0libno-such.so.10\0libc.so.6\0libours.so\0libopened.so.1\0")
    assert version_conflicts.linked_libraries(library) == ("libno-such.so.10", "libc.so.6")
    assert version_conflicts.missing_libraries(library)[:1] == ["libno-such.so.10"]
    library.write_bytes(b"")
    assert version_conflicts.linked_libraries(library) == ()
    assert version_conflicts.linked_libraries(tmp_path / "none.so") == ()


def test_two_builds_of_onnx_runtime_are_in_the_way_of_its_plugin() -> None:
    both = version_conflicts.provider_conflict("cuda-tensorrt-rtx", lambda _: "1.32.0")
    assert both is not None
    assert "overwrite each other" in both.detail
    one = {"onnxruntime-gpu": "1.31.1"}
    assert (
        version_conflicts.provider_conflict(
            "cuda-tensorrt-rtx", lambda name: one.get(name, machine.ABSENT)
        )
        is None
    )


def test_the_tensorrt_that_onnx_runtime_links_is_the_one_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    linked = ("libnvinfer.so.10",)
    monkeypatch.setattr(version_conflicts, "linked_libraries", lambda _: linked)
    assert version_conflicts.provider_conflict("cuda-tensorrt", lambda _: "10.16.1") is None
    other = version_conflicts.provider_conflict("cuda-tensorrt", lambda _: "11.4.0")
    assert other is not None
    assert "madpipe[tensorrt10]" in other.fix
    monkeypatch.setattr(version_conflicts, "linked_libraries", lambda _: ())
    none = version_conflicts.provider_conflict("cuda-tensorrt", lambda _: "10.16.1")
    assert none is not None
    assert "built without it" in none.detail
    monkeypatch.setattr(version_conflicts, "find_spec", lambda _: None)
    assert version_conflicts.provider_conflict("cuda-tensorrt", lambda _: "10") is None
