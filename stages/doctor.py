"""What this machine can and cannot do, examined by trying, with a fix for what it lacks."""

import importlib
import platform
import shutil
import sys
from pathlib import Path
from typing import Literal, NamedTuple

from pipeline import machine
from pipeline.errors import MadpipeError, first_line
from stages import version_conflicts
from stages.engines import selection
from stages.engines.base import BACKENDS
from stages.engines.compatibility import sm
from stages.engines.providers import PROVIDERS, compiles

State = Literal["ok", "lacking", "note"]
_LEAST_DISK_GIB = 2.0
_CUDA_PROVIDER = "CUDAExecutionProvider"
_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_FEATURES = {
    "AVX2": "avx2",
    "AVX-512": "avx512f",
    "VNNI (fast int8)": "avx512_vnni",
    "bf16": "avx512_bf16",
    "AMX": "amx_tile",
}


class Finding(NamedTuple):
    """One thing that was examined."""

    name: str
    state: State
    detail: str
    fix: str = ""


def examine(home: Path) -> list[Finding]:
    """Examine this machine for running madpipe with its working folder at `home`."""
    flags = machine.cpu_flags()
    features = ", ".join(name for name, flag in _FEATURES.items() if flag in flags)
    conflicts = [
        Finding("versions", "note", conflict.detail, conflict.fix)
        for conflict in version_conflicts.conflicts()
    ]
    processor = f"{machine.cpu_model()}, {machine.cpu_count()} cores"
    return [
        _python(),
        Finding("cpu", "ok", f"{processor}, {features or 'no vector features reported'}"),
        _clocks(),
        _disk(home),
        _gpu(),
        _torch(),
        _onnxruntime(),
        *(_provider(device) for device in PROVIDERS if compiles(device)),
        *(_backend(name) for name in BACKENDS if name != "onnxruntime"),
        *_int8(),
        *(conflicts or [Finding("versions", "ok", "what is installed fits together")]),
    ]


def _python() -> Finding:
    detail = f"{platform.python_version()} ({sys.executable})"
    if machine.version("pip") != machine.ABSENT:
        return Finding("python", "ok", detail)
    fix = "none needed; where a fix below says pip, type uv pip"
    return Finding("python", "note", f"{detail}, an environment without pip", fix)


def _clocks() -> Finding:
    """Return whether the processor keeps its clock, on which the noise of latencies depends."""
    try:
        governor = (_CPUFREQ / "scaling_governor").read_text(encoding="utf-8").strip()
    except OSError:
        return Finding("clocks", "ok", "the system reports none (as on most virtual machines)")
    if governor == "performance":
        return Finding("clocks", "ok", "governor performance")
    fix = "for steady latencies: cpupower frequency-set --governor performance"
    return Finding("clocks", "note", f"governor {governor}, so latencies vary with the clock", fix)


def _disk(home: Path) -> Finding:
    folder = next(path for path in (home, *home.resolve().parents) if path.exists())
    free_gib = shutil.disk_usage(folder).free / 2**30
    detail = f"{free_gib:.1f} GiB free at {folder}"
    if free_gib < _LEAST_DISK_GIB:
        return Finding("disk", "lacking", detail, "free some, or set MADPIPE_HOME to another disk")
    return Finding("disk", "ok", detail)


def _gpu() -> Finding:
    gpus = machine.gpus()
    if not gpus:
        fix = "none needed to run on the CPU; else install the NVIDIA driver"
        return Finding("gpu", "note", "the NVIDIA driver reports no GPU", fix)
    names = ", ".join(f"{gpu.name} ({sm(gpu.compute_capability)})" for gpu in gpus)
    return Finding("gpu", "ok", f"{names}, driver {gpus[0].driver}")


def _torch() -> Finding:
    try:
        import torch  # noqa: PLC0415
        import torchvision  # noqa: PLC0415
    except (ImportError, RuntimeError) as error:
        fix = "pip install --upgrade torch torchvision, both of one release"
        return Finding("torch", "lacking", f"does not import: {first_line(error)}", fix)
    detail = f"{torch.__version__}, torchvision {torchvision.__version__}"
    for gpu in machine.gpus()[:1]:
        if old := version_conflicts.driver_conflict(torch.version.cuda, gpu.driver):
            return Finding("torch", "lacking", f"{detail}: {old.detail}", old.fix)
    if torch.cuda.is_available():
        from stages.training import device  # noqa: PLC0415

        if why := device.select().why_eager():
            fix = "install gcc and Python's headers (python3-dev)"
            return Finding("torch", "note", f"{detail}, CUDA {torch.version.cuda}; {why}", fix)
        return Finding("torch", "ok", f"{detail}, CUDA {torch.version.cuda}")
    if machine.gpus():
        fix = "install a torch built for CUDA, or a newer driver"
        return Finding("torch", "lacking", f"{detail} does not see the GPU", fix)
    return Finding("torch", "ok", f"{detail}, on the CPU")


def _onnxruntime() -> Finding:
    try:
        ort = importlib.import_module("onnxruntime")
    except ImportError as error:
        install = BACKENDS["onnxruntime"].install
        return Finding("onnxruntime", "lacking", f"does not import: {first_line(error)}", install)
    detail = f"{ort.__version__}, CPU"
    if not machine.gpus():
        listed = "CUDA is listed but not tried, without a GPU"
        has_cuda = _CUDA_PROVIDER in ort.get_available_providers()
        return Finding("onnxruntime", "ok", f"{detail}; {listed}" if has_cuda else detail)
    if _CUDA_PROVIDER not in ort.get_available_providers():
        fix = f"pip uninstall onnxruntime, then {BACKENDS['onnxruntime'].install}"
        return Finding("onnxruntime", "lacking", f"{detail} alone, though a GPU is here", fix)
    try:
        _try_convolution("cuda")
    except MadpipeError as error:
        provider = Path(str(ort.__file__)).parent / "capi" / "libonnxruntime_providers_cuda.so"
        missing = ", ".join(version_conflicts.missing_libraries(provider))
        detail += f"; {error.wrong}" + (f"; not found: {missing}" if missing else "")
        linked = version_conflicts.linked_libraries(provider)
        if other := version_conflicts.other_cuda_than_torch(linked, _torch_cuda()):
            return Finding("onnxruntime", "lacking", f"{detail}; {other.detail}", other.fix)
        return Finding("onnxruntime", "lacking", detail, "pip install 'madpipe[cuda]'")
    return Finding("onnxruntime", "ok", f"{detail} and CUDA")


def _provider(device: str) -> Finding:
    """Return whether an execution provider of ONNX Runtime that compiles is to be had."""
    provider, name = PROVIDERS[device], f"onnxruntime {device}"
    if not machine.has_module(provider.module):
        return Finding(name, "note", f"not installed ({provider.module})", provider.install)
    version = machine.version(provider.distribution)
    if conflict := version_conflicts.provider_conflict(device):
        return Finding(name, "lacking", f"{version}; {conflict.detail}", conflict.fix)
    if not machine.gpus():
        return Finding(name, "ok", f"{version}, not tried, without a GPU")
    try:
        _try_convolution(device)
    except MadpipeError as error:
        fix = f"{provider.install}, or see the driver and the libraries above"
        return Finding(name, "lacking", f"{version}; {error.wrong}", fix)
    return Finding(name, "ok", version)


def _int8() -> list[Finding]:
    """Return what to know of int8 on this processor, nothing where there is no trap."""
    from stages.onnxgraph import convert  # noqa: PLC0415

    if not convert.int8_products_saturate():
        return []
    detail = (
        "no VNNI here: weights of int8 graphs get 7 bits but in depthwise layers, and graphs of 8 "
        "bits from elsewhere lose accuracy, in ONNX Runtime as in OpenVINO"
    )
    fix = 'precision "auto" compares before it takes; build int8 graphs here'
    return [Finding("int8", "note", detail, fix)]


def _torch_cuda() -> str | None:
    """Return the CUDA that torch is built for, None where it is built without or not here."""
    try:
        import torch  # noqa: PLC0415
    except (ImportError, RuntimeError):
        return None
    return torch.version.cuda


def _try_convolution(device: str) -> None:
    """Run one, for which cuDNN is loaded, in ONNX Runtime; MadpipeError where that fails."""
    import numpy as np  # noqa: PLC0415
    import onnx  # noqa: PLC0415

    from stages.engines.ort import OrtSession  # noqa: PLC0415

    kind = onnx.TensorProto.FLOAT
    node = onnx.helper.make_node("Conv", ["x", "x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, kind, [1, 1, 1, 1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "probe", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 10
    session = OrtSession(model.SerializeToString(), device=device)
    session.infer(np.ones((1, 1, 1, 1), np.float32))


def _backend(name: str) -> Finding:
    info = BACKENDS[name]
    fault = selection.gpu_fault(name) if machine.gpus() else None
    if not machine.has_module(info.needs):
        if fault:
            return Finding(name, "note", f"not installed; {fault[0]}", fault[1])
        return Finding(name, "note", "not installed", info.install)
    try:
        importlib.import_module(info.module)  # which prepares what the package wants
        importlib.import_module(info.needs)
    except (ImportError, OSError, RuntimeError) as error:
        detail = f"installed but does not import: {first_line(error)}"
        return Finding(name, "lacking", detail, info.install)
    version = machine.version(info.distribution)
    if fault:
        return Finding(name, "note", f"{version}; {fault[0]}", fault[1])
    return Finding(name, "ok", version)
